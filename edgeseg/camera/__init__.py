"""Sources of frames: video files, folders of images, cameras and network streams."""

from __future__ import annotations

import re
from pathlib import Path

from edgeseg.camera.base import Frame, Source
from edgeseg.camera.folder import IMAGE_SUFFIXES, ImageFolder, read_image
from edgeseg.camera.live import STREAM_SCHEMES, LiveCamera, without_password
from edgeseg.camera.video import VideoFile
from edgeseg.errors import SourceError

__all__ = [
    "IMAGE_SUFFIXES",
    "Frame",
    "ImageFolder",
    "LiveCamera",
    "Source",
    "VideoFile",
    "is_live",
    "open_source",
    "read_image",
    "without_password",
]


def open_source(text: str) -> Source:
    """Open what ``text`` names.

    Args:
        text: A video file, an image or a folder of images, a camera (``0`` or ``/dev/video0``), or the
            address of a stream (``rtsp://…``).

    Raises:
        SourceError: There is no such thing, or it cannot be opened.
    """
    if "://" in text:
        return _open_stream(text)
    if _is_device(text):
        return LiveCamera.device(text)
    path = Path(text)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolder(path)
    return VideoFile(path)


def is_live(text: str) -> bool:
    """Whether ``text`` names a camera or a stream; nothing is opened."""
    return _is_device(text) or text.lower().startswith(tuple(f"{scheme}://" for scheme in STREAM_SCHEMES))


def _is_device(text: str) -> bool:
    return re.fullmatch(r"\d+|/dev/video\d+", text) is not None


def _open_stream(address: str) -> Source:
    scheme = address.partition("://")[0].lower()
    if scheme not in STREAM_SCHEMES:
        raise SourceError(
            f"source {scheme}://…",
            expected=f"an address that begins with {', '.join(f'{s}://' for s in STREAM_SCHEMES)}",
            found=f"{scheme}://",
            next_step="Correct the address, or give a file, folder or camera.",
        )
    return LiveCamera.stream(address)
