"""GStreamer pipelines as a source: ``gst://PIPELINE``, and ``csi://N`` for the CSI cameras of a Jetson.

pip's OpenCV has no GStreamer, so the pipeline is run through PyGObject, which comes with the system.
"""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np

from edgeseg.camera.base import READ_TIMEOUT_S, Clock, Frame, Wanted, capture_time
from edgeseg.camera.live import ASSUMED_FPS, without_password
from edgeseg.camera.pixels import DamagedPictureError, decode
from edgeseg.errors import CorruptFrameError, MissingExtraError, SourceError
from edgeseg.resize import Image

_APPSINK = "appsink name=edgeseg drop=true max-buffers=1 sync=false"
_CAPS = "video/x-raw,format=RGB"
_SECOND_NS = 1_000_000_000
_START_TIMEOUT_S = 10.0
# A stamp of another clock, or of a pipeline that does not stamp, lies outside of this.


def open_pipeline(address: str, wanted: Wanted) -> GstSource:
    """Open ``gst://PIPELINE``, written as for ``gst-launch-1.0``.

    Without an appsink of its own the pipeline gets a conversion to RGB of the size and rate wanted, and one
    that keeps the newest frame only.

    Raises:
        MissingExtraError: PyGObject or GStreamer is not installed.
        SourceError: The pipeline is malformed, lacks an element, or gives no frame in time.
    """
    return GstSource(_with_sink(address.partition("://")[2], wanted), f"gst://{address.partition('://')[2]}")


def open_csi(address: str, wanted: Wanted) -> GstSource:
    """Open ``csi://N``, camera N of a Jetson, by NVIDIA's ``nvarguscamerasrc``.

    Raises:
        MissingExtraError, SourceError: As :func:`open_pipeline`.
    """
    sensor = address.partition("://")[2] or "0"
    if not sensor.isdigit():
        raise SourceError(
            "source csi://…",
            expected="csi:// and the camera's number, for instance csi://0",
            found=f"csi://{sensor}",
            next_step="Correct the address.",
        )
    return GstSource(csi_pipeline(int(sensor), wanted), f"csi://{sensor}")


def csi_pipeline(sensor: int, wanted: Wanted) -> str:
    """NVIDIA's pipeline for a CSI camera, 1280x720 at 30 fps unless asked.

    Up to the change from NV12 the picture stays in the device's own memory.
    """
    height, width = wanted.size or (720, 1280)
    rate = f"{round((wanted.fps or 30) * 1000)}/1000"
    return (
        f"nvarguscamerasrc sensor-id={sensor}"
        f" ! video/x-raw(memory:NVMM),width={width},height={height},format=NV12,framerate={rate}"
        f" ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! {_CAPS} ! {_APPSINK}"
    )


class GstSource:
    """A running pipeline with an appsink.

    Args:
        pipeline: As for ``gst-launch-1.0``; its appsink gets RGB.
        name: For messages; a password in it is not shown.
        timeout_s: How long :meth:`read` waits for a frame.

    Raises:
        MissingExtraError, SourceError: As :func:`open_pipeline`.
    """

    live = True
    frame_count: int | None = None

    def __init__(self, pipeline: str, name: str, timeout_s: float = READ_TIMEOUT_S) -> None:
        self.name = without_password(name)
        self._timeout_s = timeout_s
        self._gst = _import_gst()
        self._taken = 0
        self._pipeline = self._parse(pipeline)
        try:
            self._sink = self._find_sink()
            self._bus = self._pipeline.get_bus()
            if self._pipeline.set_state(self._gst.State.PLAYING) == self._gst.StateChangeReturn.FAILURE:
                self._check_bus()
                raise self._failed("an element that does not start")
            first = self._pull(max(timeout_s, _START_TIMEOUT_S))
            self._describe(first.get_caps())
        except SourceError:
            self.close()
            raise
        self._first: Any = first

    def read(self) -> Frame | None:
        """The newest frame; waits for it. A live source has no end."""
        sample = self._next()
        arrived_ns = time.monotonic_ns()
        self._taken += 1
        image = self._picture(sample)
        captured_ns, clock = self._capture_time(sample.get_buffer().pts, arrived_ns)
        decode_ms = (time.monotonic_ns() - arrived_ns) / 1e6
        return Frame(image, self._taken - 1, captured_ns, decode_ms, clock)

    def skip(self) -> bool:
        self._next()
        self._taken += 1
        return True

    def close(self) -> None:
        self._pipeline.set_state(self._gst.State.NULL)

    def _parse(self, pipeline: str) -> Any:
        try:
            parsed = self._gst.parse_launch(pipeline)
        except self._gst_error as error:
            raise self._refused("a pipeline that GStreamer can make", error.message) from error
        # A pipeline of one element would come as that element.
        if not isinstance(parsed, self._gst.Pipeline):
            raise self._refused("a pipeline that ends in an appsink", "one element")
        return parsed

    @property
    def _gst_error(self) -> Any:
        from gi.repository import GLib

        return GLib.Error

    def _find_sink(self) -> Any:
        sinks = list(_iterate(self._pipeline.iterate_sinks()))
        found = [sink for sink in sinks if sink.get_factory().get_name() == "appsink"]
        if len(found) != 1:
            raise self._refused("a pipeline with one appsink", f"{len(found)}")
        return found[0]

    def _next(self) -> Any:
        first, self._first = self._first, None
        # The frame that opening waited for is old by now, and of no use if there is a newer one.
        if first is not None:
            return self._sink.emit("try-pull-sample", 0) or first
        return self._pull(self._timeout_s)

    def _pull(self, timeout_s: float) -> Any:
        """The next sample, in short waits between which the bus is asked: an element's error ends no wait."""
        deadline = time.monotonic() + timeout_s
        while True:
            sample = self._sink.emit("try-pull-sample", int(0.1 * _SECOND_NS))
            if sample is not None:
                return sample
            self._check_bus()
            if self._sink.get_property("eos"):
                raise self._failed("the stream's end")
            if time.monotonic() >= deadline:
                raise self._failed(f"none within {timeout_s:g} s")

    def _check_bus(self) -> None:
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.EOS
        message = self._bus.pop_filtered(kinds)
        if message is None:
            return
        if message.type == self._gst.MessageType.EOS:
            raise self._failed("the stream's end")
        error, detail = message.parse_error()
        detail = (detail or "").strip().splitlines()[-1:]
        raise self._failed(": ".join([message.src.get_name(), error.message, *detail]))

    def _describe(self, caps: Any) -> None:
        """Size, rate and format as they were agreed on."""
        structure = caps.get_structure(0)
        kind, letters = structure.get_name(), structure.get_string("format")
        if kind != "video/x-raw" or letters != "RGB":
            raise self._refused(f"{_CAPS} at the appsink", f"{kind},format={letters}")
        self.frame_size = (structure.get_value("height"), structure.get_value("width"))
        there, numerator, denominator = structure.get_fraction("framerate")
        fps = numerator / denominator if there and denominator else 0.0
        self.fps = fps if 1 <= fps <= 1000 else ASSUMED_FPS
        self.format = "GStreamer RGB"

    def _picture(self, sample: Any) -> Image:
        structure, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
        height, width = structure.get_value("height"), structure.get_value("width")
        mapped, info = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise self._damaged("a buffer that cannot be read")
        try:
            # Rows begin at multiples of 4 bytes, unless the buffer says otherwise.
            stride = self._stride(buffer) or (width * 3 + 3) // 4 * 4
            return decode(np.frombuffer(info.data, np.uint8), "RGB3", height, width, stride)
        except DamagedPictureError as error:
            raise self._damaged(str(error)) from error
        finally:
            buffer.unmap(info)

    @staticmethod
    def _stride(buffer: Any) -> int:
        from gi.repository import GstVideo

        meta = GstVideo.buffer_get_video_meta(buffer)
        return int(meta.stride[0]) if meta is not None else 0

    def _capture_time(self, pts: int, arrived_ns: int) -> tuple[int, Clock]:
        """The pipeline's stamp where its clock is the system's monotonic one, else the time of arrival."""
        clock = self._pipeline.get_clock()
        stamped = pts != self._gst.CLOCK_TIME_NONE and _is_monotonic(clock)
        return capture_time(int(self._pipeline.get_base_time() + pts) if stamped else None, arrived_ns)

    def _failed(self, found: str) -> SourceError:
        return SourceError(
            self.name,
            expected="another frame",
            found=f"{without_password(found)} after {self._taken} frames",
            next_step="Check the camera, its cable or the network, and open it again.",
        )

    def _refused(self, expected: str, found: str) -> SourceError:
        return SourceError(
            self.name,
            expected=expected,
            found=without_password(found),
            next_step="Try the pipeline in gst-launch-1.0, with 'fakesink' as its end.",
        )

    def _damaged(self, found: str) -> CorruptFrameError:
        return CorruptFrameError(
            self.name, expected="a whole frame", found=found, next_step="Check the pipeline."
        )


def _with_sink(pipeline: str, wanted: Wanted) -> str:
    if re.search(r"\bappsink\b", pipeline):
        return pipeline
    caps = _CAPS
    convert = "videoconvert"
    if wanted.size:
        convert += " ! videoscale"
        caps += ",height={},width={}".format(*wanted.size)
    if wanted.fps:
        convert += " ! videorate drop-only=true"
        caps += f",framerate=[0/1,{round(wanted.fps * 1000)}/1000]"
    return f"{pipeline} ! {convert} ! {caps} ! {_APPSINK}"


def _is_monotonic(clock: Any) -> bool:
    if clock is None or clock.__gtype__.name != "GstSystemClock":
        return False
    return bool(clock.get_property("clock-type").value_nick == "monotonic")


def _iterate(iterator: Any) -> Any:
    while (step := iterator.next())[0].value_nick == "ok":
        yield step[1]


def _import_gst() -> Any:
    try:
        import gi

        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gi.require_version("GstVideo", "1.0")
        from gi.repository import Gst, GstApp, GstVideo  # noqa: F401 - they add methods
    except (ImportError, ValueError) as error:
        raise MissingExtraError(
            "GStreamer (gst:// and csi://)",
            expected="PyGObject with GStreamer's introspection, which come from the system and not from pip",
            found=str(error),
            next_step=(
                "Install it with: apt install python3-gi gir1.2-gst-plugins-base-1.0 "
                "gstreamer1.0-plugins-base gstreamer1.0-plugins-good, and make the virtual environment with "
                "--system-site-packages and the system's Python."
            ),
        ) from error
    Gst.init(None)
    return Gst
