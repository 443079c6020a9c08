"""A made-up kernel with one V4L2 camera, which does with each call what the API's documentation says."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable
from ctypes import Structure, c_int
from typing import Any

import numpy as np

from edgeseg.camera import v4l2_abi as abi

OFFSET_STEP = 1 << 20


class FakeCamera:
    """A :class:`edgeseg.camera.v4l2_device.Device`.

    Args:
        formats: Four letters of what it gives; the first is what it falls back to.
        size: (height, width) that it gives whatever is asked, or ``None`` to give what is asked.
        fps: The rate that it gives, or 0 where it knows no rate.
        stride_gap: Bytes that it leaves free at the end of each row.
        stamps: The flag that says what clock its stamps are of.

    ``fail[code]`` holds the error numbers that the next calls of that ioctl end with. ``due`` holds what
    happens while somebody polls: each a call such as ``lambda: camera.capture(data)``.
    """

    def __init__(
        self,
        formats: tuple[str, ...] = ("YUYV", "MJPG"),
        size: tuple[int, int] | None = None,
        fps: float = 30.0,
        stride_gap: int = 0,
        stamps: int = abi.BUF_FLAG_TIMESTAMP_MONOTONIC,
    ) -> None:
        self.formats, self.size, self.fps, self.stamps = formats, size, fps, stamps
        self.stride_gap = stride_gap
        self.capabilities = abi.CAP_VIDEO_CAPTURE | abi.CAP_STREAMING
        self.fail: dict[int, list[int]] = {}
        self.due: deque[Callable[[], None]] = deque()
        self.calls: list[int] = []
        self.buffer_limit = 32
        self.streaming = self.closed = False
        self.sequence = 0
        self._pix = abi.PixFormat(640, 480, abi.fourcc(formats[0]))
        self._memory: list[np.ndarray] = []
        self._queued: deque[int] = deque()
        self._done: deque[abi.Buffer] = deque()
        self._fix()

    # What happens in the camera.

    def capture(self, data: bytes, flags: int = 0, stamp_ns: int | None = None) -> None:
        """A frame comes from the sensor; it is lost where no buffer is free, but it is counted."""
        assert self.streaming
        sequence, self.sequence = self.sequence, (self.sequence + 1) % 2**32
        if not self._queued:
            return
        index = self._queued.popleft()
        self._memory[index][:] = 0xAA
        self._memory[index][: len(data)] = np.frombuffer(data, np.uint8)
        stamp = time.monotonic_ns() if stamp_ns is None else stamp_ns
        filled = abi.Buffer(index, abi.BUF_TYPE_VIDEO_CAPTURE, len(data), flags | self.stamps)
        filled.timestamp = abi.TimeVal(stamp // 10**9, stamp % 10**9 // 1000)
        filled.sequence, filled.memory, filled.length = sequence, abi.MEMORY_MMAP, self._pix.sizeimage
        self._done.append(filled)

    # The device's interface.

    def ioctl(self, request: int, argument: Structure | c_int) -> None:
        assert not self.closed
        self.calls.append(request)
        if self.fail.get(request):
            code = self.fail[request].pop(0)
            raise OSError(code, os.strerror(code))
        _HANDLERS[request](self, argument)

    def mmap(self, length: int, offset: int) -> np.ndarray:
        index, rest = divmod(offset, OFFSET_STEP)
        assert (rest, length) == (0, self._pix.sizeimage)
        return self._memory[index]

    def poll(self, seconds: float) -> bool:
        assert seconds > 0
        while not self._done and self.due:
            self.due.popleft()()
        return bool(self._done or self.fail.get(abi.VIDIOC_DQBUF))

    def close(self) -> None:
        self.closed = True

    # The ioctls.

    def _querycap(self, capability: Any) -> None:
        capability.card, capability.driver = b"Made-up camera", b"fake"
        # The device as a whole can more than this node of it.
        capability.capabilities = abi.CAP_DEVICE_CAPS | abi.CAP_VIDEO_CAPTURE | abi.CAP_STREAMING | 0x2
        capability.device_caps = self.capabilities

    def _g_fmt(self, wanted: Any) -> None:
        _check(wanted.type == abi.BUF_TYPE_VIDEO_CAPTURE)
        wanted.fmt.pix = self._pix

    def _s_fmt(self, wanted: Any) -> None:
        _check(wanted.type == abi.BUF_TYPE_VIDEO_CAPTURE)
        _check(not self._memory, errno.EBUSY)
        pix = wanted.fmt.pix
        if abi.letters(pix.pixelformat) not in self.formats:
            pix.pixelformat = abi.fourcc(self.formats[0])
        if self.size:
            pix.height, pix.width = self.size
        self._pix = abi.PixFormat.from_buffer_copy(pix)
        self._fix()
        wanted.fmt.pix = self._pix

    def _fix(self) -> None:
        pix = self._pix
        per_pixel = {"MJPG": 0, "NV12": 1, "YUYV": 2, "UYVY": 2}.get(abi.letters(pix.pixelformat), 3)
        pix.bytesperline = pix.width * per_pixel + self.stride_gap if per_pixel else 0
        rows = pix.height * 3 // 2 if per_pixel == 1 else pix.height
        pix.sizeimage = pix.bytesperline * rows or pix.width * pix.height * 2
        pix.field = abi.FIELD_NONE

    def _g_parm(self, parm: Any) -> None:
        _check(self.fps > 0, errno.ENOTTY)
        parm.parm.capture.capability = abi.CAP_TIMEPERFRAME
        parm.parm.capture.timeperframe = abi.Fraction(1, round(self.fps))

    def _s_parm(self, parm: Any) -> None:
        period = parm.parm.capture.timeperframe
        self.fps = min((15.0, 30.0, 60.0), key=lambda fps: abs(fps - period.denominator / period.numerator))
        parm.parm.capture.timeperframe = abi.Fraction(1, round(self.fps))

    def _reqbufs(self, request: Any) -> None:
        _check(request.type == abi.BUF_TYPE_VIDEO_CAPTURE and request.memory == abi.MEMORY_MMAP)
        request.count = min(request.count, self.buffer_limit)
        self._memory = [np.zeros(self._pix.sizeimage, np.uint8) for _ in range(request.count)]

    def _querybuf(self, buffer: Any) -> None:
        _check(buffer.index < len(self._memory) and buffer.type == abi.BUF_TYPE_VIDEO_CAPTURE)
        buffer.length, buffer.m.offset = self._pix.sizeimage, buffer.index * OFFSET_STEP

    def _qbuf(self, buffer: Any) -> None:
        _check(buffer.type == abi.BUF_TYPE_VIDEO_CAPTURE and buffer.memory == abi.MEMORY_MMAP)
        _check(buffer.index < len(self._memory) and buffer.index not in self._queued)
        _check(buffer.index not in [done.index for done in self._done])
        self._queued.append(buffer.index)

    def _dqbuf(self, buffer: Any) -> None:
        _check(self.streaming and buffer.type == abi.BUF_TYPE_VIDEO_CAPTURE)
        _check(buffer.memory == abi.MEMORY_MMAP)
        _check(bool(self._done), errno.EAGAIN)
        done = self._done.popleft()
        for name, *_ in abi.Buffer._fields_:
            setattr(buffer, name, getattr(done, name))

    def _streamon(self, kind: Any) -> None:
        _check(kind.value == abi.BUF_TYPE_VIDEO_CAPTURE and bool(self._memory))
        self.streaming = True

    def _streamoff(self, kind: Any) -> None:
        _check(kind.value == abi.BUF_TYPE_VIDEO_CAPTURE)
        self.streaming = False


def _check(holds: bool, code: int = errno.EINVAL) -> None:
    if not holds:
        raise OSError(code, os.strerror(code))


_HANDLERS: dict[int, Callable[[FakeCamera, Any], None]] = {
    abi.VIDIOC_QUERYCAP: FakeCamera._querycap,
    abi.VIDIOC_G_FMT: FakeCamera._g_fmt,
    abi.VIDIOC_S_FMT: FakeCamera._s_fmt,
    abi.VIDIOC_G_PARM: FakeCamera._g_parm,
    abi.VIDIOC_S_PARM: FakeCamera._s_parm,
    abi.VIDIOC_REQBUFS: FakeCamera._reqbufs,
    abi.VIDIOC_QUERYBUF: FakeCamera._querybuf,
    abi.VIDIOC_QBUF: FakeCamera._qbuf,
    abi.VIDIOC_DQBUF: FakeCamera._dqbuf,
    abi.VIDIOC_STREAMON: FakeCamera._streamon,
    abi.VIDIOC_STREAMOFF: FakeCamera._streamoff,
}
