"""A V4L2 camera through the kernel's own interface: its stamps, its numbers, its word on damage."""

from __future__ import annotations

import contextlib
import errno
import time
from ctypes import c_int
from typing import NoReturn

from edgeseg.camera import v4l2_abi as abi
from edgeseg.camera.base import READ_TIMEOUT_S, Clock, Frame, Source, Wanted, capture_time
from edgeseg.camera.live import ASSUMED_FPS, LiveCamera
from edgeseg.camera.pixels import FORMATS, DamagedPictureError, decode
from edgeseg.camera.v4l2_device import Device, KernelDevice
from edgeseg.errors import CorruptFrameError, SourceError
from edgeseg.resize import Image

BUFFERS = 4
# A stamp on another clock, such as the counter of a camera's own chip, lies outside of this.
_GONE = (errno.ENODEV, errno.EIO, errno.ENXIO, errno.EBADF)


class NotStreamingError(SourceError):
    """The driver does not speak this interface, or in no format that is known here."""


def open_camera(text: str, wanted: Wanted) -> Source:
    """Open a camera by its number, its device file or ``v4l2://`` and that file.

    Where the driver refuses the kernel's streaming interface, OpenCV's reader is tried, which has no stamps.

    Raises:
        SourceError: There is none, another program has it, or it gives no pictures.
    """
    name = text.removeprefix("v4l2://")
    path = f"/dev/video{name}" if name.isdigit() else name
    try:
        return V4l2Camera(path, KernelDevice(path), wanted)
    except NotStreamingError:
        return LiveCamera.device(path, wanted)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return LiveCamera.device(path, wanted)  # which says what there is
        hint = "add the user to the group 'video'" if error.errno == errno.EACCES else "check the camera"
        raise SourceError(
            path,
            expected="a camera that opens",
            found=error.strerror or str(error),
            next_step=f"Close other programs that use it, or {hint}.",
        ) from error


class V4l2Camera:
    """Streams from a device through mapped buffers.

    Attributes:
        card: The camera's own name.

    Args:
        path: For messages.
        device: The open device; the camera closes it, also when it cannot be used.
        wanted: Size, rate and format to ask for; ``frame_size``, ``fps`` and ``format`` say what was got.

    Raises:
        NotStreamingError: It is no camera, does not stream, or only in formats that are not known here.
        SourceError: Another program has it, or it is gone.
    """

    live = True
    frame_count: int | None = None

    def __init__(self, path: str, device: Device, wanted: Wanted) -> None:
        self.name = path
        self._device = device
        self._taken = 0
        self._open = True
        try:
            self.card = self._check_capabilities()
            pix = self._negotiate_format(wanted)
            self.frame_size = (int(pix.height), int(pix.width))
            self.format = abi.letters(pix.pixelformat)
            self._stride = 0 if self.format in ("MJPG", "JPEG") else int(pix.bytesperline)
            self.fps = self._negotiate_rate(wanted.fps)
            self._maps = self._map_buffers()
            self._device.ioctl(abi.VIDIOC_STREAMON, c_int(abi.BUF_TYPE_VIDEO_CAPTURE))
        except OSError as error:
            self.close()
            self._refuse_to_open(error)
        except SourceError:
            self.close()
            raise

    def read(self) -> Frame | None:
        """The newest frame; waits for it. A live source has no end."""
        buffer = self._newest()
        arrived_ns = time.monotonic_ns()
        self._taken += 1
        try:
            image = self._picture(buffer)
        finally:
            self._queue(buffer.index)
        captured_ns, clock = _capture_time(buffer, arrived_ns)
        return Frame(
            image,
            self._taken - 1,
            captured_ns,
            decode_ms=(time.monotonic_ns() - arrived_ns) / 1e6,
            clock=clock,
            sequence=int(buffer.sequence),
        )

    def skip(self) -> bool:
        self._queue(self._newest().index)
        self._taken += 1
        return True

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        # Of a camera that is gone even this fails, and there is nothing left to do about it.
        with contextlib.suppress(OSError):
            self._device.ioctl(abi.VIDIOC_STREAMOFF, c_int(abi.BUF_TYPE_VIDEO_CAPTURE))
        self._maps = []
        self._device.close()

    # Opening, in this order.

    def _check_capabilities(self) -> str:
        capability = abi.Capability()
        self._device.ioctl(abi.VIDIOC_QUERYCAP, capability)
        has_own = capability.capabilities & abi.CAP_DEVICE_CAPS
        can = capability.device_caps if has_own else capability.capabilities
        if not can & abi.CAP_VIDEO_CAPTURE or not can & abi.CAP_STREAMING:
            raise self._not_streaming("a device that captures and streams", f"capabilities {can:#x}")
        return str(capability.card.decode("utf-8", "replace"))

    def _negotiate_format(self, wanted: Wanted) -> abi.PixFormat:
        if wanted.format and wanted.format not in FORMATS:
            raise SourceError(
                f"pixel format {wanted.format!r}",
                expected=f"one of {', '.join(FORMATS)}",
                found="no such format here",
                next_step="Ask for one of these, or for none.",
            )
        current = abi.Format(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        self._device.ioctl(abi.VIDIOC_G_FMT, current)
        height, width = wanted.size or (current.fmt.pix.height, current.fmt.pix.width)
        for letters in dict.fromkeys([*filter(None, [wanted.format]), *FORMATS]):
            asked = abi.Format(type=abi.BUF_TYPE_VIDEO_CAPTURE)
            asked.fmt.pix = abi.PixFormat(width, height, abi.fourcc(letters), abi.FIELD_ANY)
            self._device.ioctl(abi.VIDIOC_S_FMT, asked)  # the driver writes what it does instead into it
            got: abi.PixFormat = asked.fmt.pix
            if got.pixelformat == abi.fourcc(letters):
                return got
        found = f"{abi.letters(got.pixelformat)} from a driver that gives no other"
        raise self._not_streaming(f"one of the pixel formats {', '.join(FORMATS)}", found)

    def _negotiate_rate(self, wanted_fps: float | None) -> float:
        """Frames a second as the driver says; drivers that know no rate leave the assumed one."""
        parm = abi.StreamParm(type=abi.BUF_TYPE_VIDEO_CAPTURE)
        capture = parm.parm.capture
        try:
            self._device.ioctl(abi.VIDIOC_G_PARM, parm)
            if wanted_fps and capture.capability & abi.CAP_TIMEPERFRAME:
                capture.timeperframe = abi.Fraction(1000, round(wanted_fps * 1000))
                self._device.ioctl(abi.VIDIOC_S_PARM, parm)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EINVAL):
                raise
            return ASSUMED_FPS
        period = capture.timeperframe
        fps = period.denominator / period.numerator if period.numerator else 0.0
        return fps if 1 <= fps <= 1000 else ASSUMED_FPS

    def _map_buffers(self) -> list[Image]:
        request = abi.RequestBuffers(BUFFERS, abi.BUF_TYPE_VIDEO_CAPTURE, abi.MEMORY_MMAP)
        self._device.ioctl(abi.VIDIOC_REQBUFS, request)
        if request.count < 2:
            raise self._not_streaming("at least 2 buffers", f"{request.count} from the driver")
        maps = []
        for index in range(request.count):
            buffer = self._buffer(index)
            self._device.ioctl(abi.VIDIOC_QUERYBUF, buffer)
            maps.append(self._device.mmap(buffer.length, buffer.m.offset))
            self._device.ioctl(abi.VIDIOC_QBUF, self._buffer(index))
        return maps

    def _refuse_to_open(self, error: OSError) -> NoReturn:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise self._not_streaming("a driver with V4L2's streaming", str(error.strerror)) from error
        raise SourceError(
            self.name,
            expected="a camera that starts",
            found="another program has it" if error.errno == errno.EBUSY else error.strerror or str(error),
            next_step="Close other programs that use it, and check the cable.",
        ) from error

    def _not_streaming(self, expected: str, found: str) -> NotStreamingError:
        return NotStreamingError(
            self.name, expected=expected, found=found, next_step="Try gst://v4l2src device=… for this camera."
        )

    # Reading.

    def _newest(self) -> abi.Buffer:
        """The newest filled buffer, taken out of the driver's queue; older ones go straight back."""
        newest = self._wait()
        # No more than there are buffers: a camera faster than this loop would keep it here for ever.
        for _ in self._maps:
            newer = self._dequeue()
            if newer is None:
                break
            self._queue(newest.index)
            newest = newer
        return newest

    def _wait(self) -> abi.Buffer:
        deadline = time.monotonic() + READ_TIMEOUT_S
        while (left := deadline - time.monotonic()) > 0:
            if self._device.poll(left) and (buffer := self._dequeue()) is not None:
                return buffer
            time.sleep(0.001)  # an error without a buffer: not to be polled without a pause
        raise self._error(f"none within {READ_TIMEOUT_S:g} s", "Check the camera and its cable.")

    def _dequeue(self) -> abi.Buffer | None:
        buffer = self._buffer()
        try:
            self._device.ioctl(abi.VIDIOC_DQBUF, buffer)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._lost(error) from error
        return buffer

    def _queue(self, index: int) -> None:
        try:
            self._device.ioctl(abi.VIDIOC_QBUF, self._buffer(index))
        except OSError as error:
            raise self._lost(error) from error

    def _picture(self, buffer: abi.Buffer) -> Image:
        if buffer.flags & abi.BUF_FLAG_ERROR:
            raise self._damaged(buffer, "a frame that the driver calls damaged")
        # Some drivers leave it at 0 for formats whose size is fixed; a JPEG has none.
        used = buffer.bytesused or (0 if self._stride == 0 else buffer.length)
        try:
            return decode(self._maps[buffer.index][:used], self.format, *self.frame_size, self._stride)
        except DamagedPictureError as error:
            raise self._damaged(buffer, str(error)) from error

    def _damaged(self, buffer: abi.Buffer, found: str) -> CorruptFrameError:
        return CorruptFrameError(
            self.name,
            expected="a whole frame",
            found=f"{found} (sequence {buffer.sequence})",
            next_step="If there are many, check the cable and the USB bus, or ask for a smaller size.",
        )

    def _lost(self, error: OSError) -> SourceError:
        what = "it was unplugged" if error.errno in _GONE else f"{error.strerror or error}"
        return self._error(f"{what} after {self._taken} frames", "Plug it in and open it again.")

    def _error(self, found: str, next_step: str) -> SourceError:
        return SourceError(self.name, expected="another frame", found=found, next_step=next_step)

    @staticmethod
    def _buffer(index: int = 0) -> abi.Buffer:
        return abi.Buffer(index=index, type=abi.BUF_TYPE_VIDEO_CAPTURE, memory=abi.MEMORY_MMAP)


def _capture_time(buffer: abi.Buffer, arrived_ns: int) -> tuple[int, Clock]:
    """The driver's time of the frame where it is on our clock and can be true, else that of its arrival."""
    stamp = buffer.timestamp.tv_sec * 1_000_000_000 + buffer.timestamp.tv_usec * 1000
    monotonic = buffer.flags & abi.BUF_FLAG_TIMESTAMP_MASK == abi.BUF_FLAG_TIMESTAMP_MONOTONIC
    return capture_time(stamp if monotonic else None, arrived_ns)
