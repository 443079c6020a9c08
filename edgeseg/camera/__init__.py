"""Sources of frames: cameras, streams, GStreamer pipelines, video files, images, a drawn street."""

from __future__ import annotations

from edgeseg.camera.base import READ_TIMEOUT_S, Clock, Frame, Source, Wanted
from edgeseg.camera.checks import Arrival, FrozenCheck, SequenceGate, View, ViewCheck
from edgeseg.camera.folder import IMAGE_SUFFIXES, ImageFolder, decode_image, read_image
from edgeseg.camera.live import LiveCamera, without_password
from edgeseg.camera.opening import is_live, open_source
from edgeseg.camera.synthetic import SyntheticCamera, with_start
from edgeseg.camera.video import VideoFile

__all__ = [
    "IMAGE_SUFFIXES",
    "READ_TIMEOUT_S",
    "Arrival",
    "Clock",
    "Frame",
    "FrozenCheck",
    "ImageFolder",
    "LiveCamera",
    "SequenceGate",
    "Source",
    "SyntheticCamera",
    "VideoFile",
    "View",
    "ViewCheck",
    "Wanted",
    "decode_image",
    "is_live",
    "open_source",
    "read_image",
    "with_start",
    "without_password",
]
