"""What turns pictures into an mp4 file: H.264 where something on this machine can write it."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

import cv2

from edgeseg.resize import Image

# MPEG-4 part 2: of the mp4 encoders in pip's OpenCV the only one that keeps up with a camera (2.5 ms a
# frame of 960×540, where VP9 took 270 ms). It brings none for H.264 but a Raspberry Pi's.
MPEG4, OPENCV_H264, FFMPEG_H264 = "MPEG-4 part 2", "H.264 (OpenCV)", "H.264 (ffmpeg)"
_FOURCC = {MPEG4: "mp4v", OPENCV_H264: "avc1"}
_PROBE_SECONDS = 20
_TRIAL = ("-f", "lavfi", "-i", "color=size=64x64:rate=25", "-frames:v", "1", "-c:v", "libx264")
_FINISH_SECONDS = 60
_PROBE = """
import sys, cv2
writer = cv2.VideoWriter(sys.argv[1], cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*'avc1'), 25, (640, 480))
sys.exit(not writer.isOpened())
"""


class Encoder(Protocol):
    """Takes pictures ``uint8 [H, W, 3]`` BGR of one even size."""

    def write(self, picture: Image) -> None:
        """Take one.

        Raises:
            OSError: The encoder has ended.
        """

    def finish(self) -> str:
        """Complete the file; what went wrong, or nothing."""

    def abort(self) -> None:
        """End without completing it; harmless after :meth:`finish`, and twice."""


def open_encoder(codec: str, path: Path, fps: float, width: int, height: int) -> Encoder:
    """The encoder of a codec that :func:`choose_codec` gave.

    Raises:
        OSError: The file cannot be opened.
    """
    if codec == FFMPEG_H264:
        return _FfmpegEncoder(path, fps, width, height)
    return _OpenCVEncoder(codec, path, fps, width, height)


@functools.cache
def choose_codec() -> str:
    """The best that works here. Each is tried where its complaints reach nobody: in a process of its own."""
    if shutil.which("ffmpeg") and _runs(["ffmpeg", "-hide_banner", *_TRIAL, "-f", "null", "-"]):
        return FFMPEG_H264
    with tempfile.TemporaryDirectory() as folder:
        if _runs([sys.executable, "-c", _PROBE, str(Path(folder) / "probe.mp4")]):
            return OPENCV_H264
    return MPEG4


class _OpenCVEncoder:
    def __init__(self, codec: str, path: Path, fps: float, width: int, height: int) -> None:
        fourcc = cv2.VideoWriter.fourcc(*_FOURCC[codec])
        self._size = (width, height)
        self._writer: cv2.VideoWriter | None = cv2.VideoWriter(
            str(path), cv2.CAP_FFMPEG, fourcc, fps, self._size
        )
        if not self._writer.isOpened():
            raise OSError(f"OpenCV cannot open it as {_FOURCC[codec]} at {fps:g} frames a second")

    def write(self, picture: Image) -> None:
        if self._writer is not None:
            self._writer.write(picture)

    def finish(self) -> str:
        self.abort()
        return ""

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None


class _FfmpegEncoder:
    """``ffmpeg`` as a process that pictures are piped to."""

    def __init__(self, path: Path, fps: float, width: int, height: int) -> None:
        # A place that cannot be written is an error now, not when ffmpeg has got there.
        path.touch()
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        command = [
            *("ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y"),
            *("-f", "rawvideo", "-pix_fmt", "bgr24", "-video_size", f"{width}x{height}"),
            *("-framerate", f"{fps:.6f}", "-i", "-", "-an"),
            *("-c:v", "libx264", "-preset", "superfast", "-crf", "22", "-pix_fmt", "yuv420p", str(path)),
        ]
        # Ctrl-C is for the loop, which then completes the file; ffmpeg must not hear it.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            start_new_session=True,
        )

    def write(self, picture: Image) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(picture.data)

    def finish(self) -> str:
        try:
            # Closes its input, which is how it learns that the video ends.
            self._process.communicate(timeout=_FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            self.abort()
            return f"ffmpeg did not end within {_FINISH_SECONDS} s"
        except OSError as error:
            self.abort()
            return str(error)
        return self._said() if self._process.returncode else ""

    def abort(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError:
                # What was buffered for a process that is gone is not wanted any more.
                return

    def _said(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ffmpeg ended with {self._process.returncode}"


def _runs(command: list[str]) -> bool:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
