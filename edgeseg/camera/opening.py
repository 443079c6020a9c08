"""From the text that names a source to the open source."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from edgeseg.camera import synthetic
from edgeseg.camera.base import Source, Wanted
from edgeseg.camera.folder import IMAGE_SUFFIXES, ImageFolder
from edgeseg.camera.live import STREAM_SCHEMES, LiveCamera
from edgeseg.camera.v4l2 import open_camera
from edgeseg.camera.video import VideoFile
from edgeseg.errors import SourceError

Opener = Callable[[str, Wanted], Source]


def open_source(text: str, wanted: Wanted | None = None) -> Source:
    """Open what ``text`` names.

    Args:
        text: A camera (``v4l2:///dev/video0``, ``/dev/video0`` or ``0``), a Jetson's (``csi://0``), a
            pipeline (``gst://…``), a stream (``rtsp://…``), a drawn street (``synthetic://``), or a video
            file, an image or a folder of images, also as ``file://…``.
        wanted: What a camera is asked for. Files and streams come as they are.

    Raises:
        SourceError: There is no such thing, or it cannot be opened.
        MissingExtraError: ``csi://`` or ``gst://`` without GStreamer.
    """
    return _opener(text)(text, wanted or Wanted())


def is_live(text: str) -> bool:
    """Whether ``text`` names a camera or a stream; nothing is opened."""
    return _is_device(text) or ("://" in text and _scheme(text) in OPENERS.keys() - {"file"})


def _opener(text: str) -> Opener:
    if _is_device(text):
        return open_camera
    if "://" not in text:
        return _open_path
    scheme = _scheme(text)
    if scheme not in OPENERS:
        raise SourceError(
            f"source {scheme}://…",
            expected=f"an address that begins with {', '.join(f'{s}://' for s in OPENERS)}",
            found=f"{scheme}://",
            next_step="Correct the address, or give a file, folder or camera.",
        )
    return OPENERS[scheme]


def _open_pipeline(address: str, wanted: Wanted) -> Source:
    from edgeseg.camera.gst import open_pipeline

    return open_pipeline(address, wanted)


def _open_csi(address: str, wanted: Wanted) -> Source:
    from edgeseg.camera.gst import open_csi

    return open_csi(address, wanted)


def _open_stream(address: str, _wanted: Wanted) -> Source:
    return LiveCamera.stream(address)


def _open_synthetic(address: str, wanted: Wanted) -> Source:
    return synthetic.SyntheticCamera(synthetic.parse(address, wanted))


def _open_file(address: str, wanted: Wanted) -> Source:
    # file://localhost/path is the same file as file:///path.
    path = re.sub(r"^localhost/", "/", address.partition("://")[2])
    return _open_path(unquote(path), wanted)


def _open_path(text: str, _wanted: Wanted) -> Source:
    path = Path(text)
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolder(path)
    return VideoFile(path)


def _is_device(text: str) -> bool:
    return re.fullmatch(r"\d+|/dev/video\d+", text) is not None


def _scheme(text: str) -> str:
    return text.partition("://")[0].lower()


OPENERS: dict[str, Opener] = {
    "v4l2": open_camera,
    "csi": _open_csi,
    "gst": _open_pipeline,
    **dict.fromkeys(STREAM_SCHEMES, _open_stream),
    "synthetic": _open_synthetic,
    "file": _open_file,
}
