"""Frames to time: from golden frames, videos, folders and images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks.frames import (
    MAX_FRAMES,
    decode,
    frames_from_golden,
    frames_from_images,
    frames_from_source,
)
from edgeseg.bundle import Bundle
from edgeseg.errors import InferenceError, SourceError


def test_golden_frames_are_enlarged_to_a_camera_and_it_is_said(tmp_path: Path) -> None:
    bundle = Bundle.open(toys.write_bundle(tmp_path / "toy.edgeseg"))
    frames = frames_from_golden(bundle)
    assert decode(frames.encoded[0]).shape == (720, 1280, 3)
    assert "golden frames of toy.edgeseg, enlarged from 64x32" in str(frames.to_dict()["origin"])


def test_images_keep_their_size_and_their_channel_order() -> None:
    image = np.zeros((48, 80, 3), np.uint8)
    image[..., 0] = 200
    frames = frames_from_images([image], "red")
    assert (frames.height, frames.width) == (48, 80)
    decoded = decode(frames.encoded[0])
    assert decoded[..., 0].mean() > 190
    assert decoded[..., 2].mean() < 10


def test_no_more_frames_are_read_than_are_kept() -> None:
    read = []

    def images():
        for index in range(1000):
            read.append(index)
            yield np.zeros((8, 8, 3), np.uint8)

    assert len(frames_from_images(images(), "many").encoded) == MAX_FRAMES
    assert len(read) <= MAX_FRAMES + 1


def test_a_video_and_a_folder_are_sources(tmp_path: Path) -> None:
    video = toys.write_video(tmp_path / "drive.mp4", frames=5)
    assert len(frames_from_source(str(video)).encoded) == 5
    (tmp_path / "images").mkdir()
    for name in "ab":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((16, 32, 3), np.uint8))
    assert len(frames_from_source(str(tmp_path / "images")).encoded) == 2


def test_nothing_to_time_is_an_error() -> None:
    with pytest.raises(SourceError, match="at least one frame"):
        frames_from_images([], "empty")
    with pytest.raises(SourceError):
        frames_from_source("/nowhere/drive.mp4")


def test_bytes_that_are_no_image_are_an_error() -> None:
    with pytest.raises(InferenceError, match="do not decode"):
        decode(b"not a JPEG")
