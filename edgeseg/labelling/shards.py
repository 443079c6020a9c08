"""A shard: an uncompressed tar that WebDataset reads, and a record that says it is whole.

Of each frame it holds ``SOURCE/NNNNNNNN.png``, the class ids ``uint8 [H, W]`` at the frame's size, and
``….json`` (:func:`describe`); of a job with frames also ``….jpg``. ``SOURCE`` is the file's path below the
folder of the sources. Members have no time, user or mode of their own: equal frames give equal bytes.

The tar gets its name first and the record follows: a shard without its record, or whose bytes the record does
not fit, counts as not written.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.errors import DataError
from edgeseg.labelling.job import Stored
from edgeseg.labels import Mask
from edgeseg.resize import Image
from edgeseg.segmenter import Segmentation

SHARDS = "shards"
_JPEG_QUALITY = 95
_READ_BYTES = 1 << 20


class Failure(Stored):
    """What could not be labelled: an image, or a video from ``frame`` on."""

    source: str
    frame: int
    reason: str


class VideoEnd(Stored):
    """How a video ended.

    Args:
        source: The video.
        announced: Frames that its container promised, where it did.
        decoded: Frames that came, whether each was labelled or not.
    """

    source: str
    announced: int | None
    decoded: int


class Record(Stored):
    """A finished shard.

    Args:
        name: The tar's, without the suffix.
        count: Frames in it. With none there is no tar.
        size, sha256: Bytes and hash of the tar.
        mask_bytes: Of the masks alone.
        first, last: The keys of its first and last frame.
        failed: What should have been in it.
        last_of_unit: Whether nothing of its video or images comes after it.
        video_end: Where a video ends with it.
    """

    name: str
    count: int
    size: int = 0
    sha256: str = ""
    mask_bytes: int = 0
    first: str | None = None
    last: str | None = None
    failed: tuple[Failure, ...] = ()
    last_of_unit: bool = False
    video_end: VideoEnd | None = None


@dataclass(frozen=True)
class LabelledFrame:
    """A frame as it is read back.

    Args:
        key: ``SOURCE/NNNNNNNN``.
        mask: Class ids ``uint8 [H, W]``.
        values: What :func:`describe` gave.
        image: The frame ``uint8 [H, W, 3]`` RGB, where the job kept it.
    """

    key: str
    mask: Mask
    values: Mapping[str, Any]
    image: Image | None


def shard_name(unit: int, number: int) -> str:
    """Of the ``number``-th shard of a unit."""
    return f"labels-{unit:06d}-{number:05d}"


def tar_path(folder: Path, name: str) -> Path:
    return folder / SHARDS / f"{name}.tar"


def record_path(folder: Path, name: str) -> Path:
    return folder / SHARDS / f"{name}.json"


def attempts_path(folder: Path, name: str) -> Path:
    """How often the shard was begun by this command; gone when it is finished."""
    return folder / SHARDS / f".{name}.attempts"


def finished(folder: Path, name: str) -> Record | None:
    """The record of a shard that is there and whole, every byte of it; otherwise ``None``."""
    path = record_path(folder, name)
    try:
        record = Record.read(path)
        whole = record.name == name and (
            not record.count or sha256_of(tar_path(folder, name)) == record.sha256
        )
    except (DataError, OSError):
        return None
    return record if whole else None


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def key_of(source: str, frame: int) -> str:
    return f"{source}/{frame:08d}"


def describe(segmentation: Segmentation, source: str, frame: int, bundle_digest: str) -> dict[str, Any]:
    """What a frame's JSON says: where it comes from, what made its mask, and what is in it.

    ``area`` is each class's share of the frame, 0 to 1. ``confidence`` is the mean probability of the
    pixels' classes, 0 to 1, and ``class_confidence`` that of each class's pixels, at the model's resolution;
    both are missing where the bundle gives no confidence. There is no time in it: a frame that is labelled
    twice must give the same bytes.
    """
    height, width = segmentation.mask.shape
    values: dict[str, Any] = {
        "source": source,
        "frame": frame,
        "height": height,
        "width": width,
        "bundle": bundle_digest,
        "area": {name: round(share, 6) for name, share in segmentation.shares().items()},
    }
    if segmentation.confidence is not None:
        values |= _confidences(segmentation, segmentation.confidence)
    return values


class ShardWriter:
    """Frames appended to a tar, which is open; for one shard."""

    def __init__(self, tar: tarfile.TarFile, bundle_digest: str, *, with_frames: bool) -> None:
        self.count = self.mask_bytes = 0
        self.first: str | None = None
        self.last: str | None = None
        self._tar, self._digest, self._with_frames = tar, bundle_digest, with_frames

    def add(self, segmentation: Segmentation, source: str, frame: int) -> None:
        key = key_of(source, frame)
        mask = _encoded(".png", segmentation.mask, [])
        values = describe(segmentation, source, frame, self._digest)
        self._member(f"{key}.png", mask)
        self._member(f"{key}.json", json.dumps(values).encode())
        if self._with_frames:
            bgr = np.asarray(cv2.cvtColor(segmentation.frame, cv2.COLOR_RGB2BGR), np.uint8)
            self._member(f"{key}.jpg", _encoded(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]))
        self.first, self.last = self.first or key, key
        self.count += 1
        self.mask_bytes += len(mask)

    def _member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))


def read_shard(path: Path) -> Iterator[LabelledFrame]:
    """The frames of a shard's tar, in order.

    Raises:
        DataError: It is missing, damaged or no shard of edgeseg label.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            parts: dict[str, dict[str, bytes]] = {}
            for member in tar:
                key, _, suffix = member.name.rpartition(".")
                if parts and key not in parts:
                    yield _frame(*parts.popitem())
                file = tar.extractfile(member)
                parts.setdefault(key, {})[suffix] = file.read() if file else b""
            if parts:
                yield _frame(*parts.popitem())
    except (OSError, tarfile.TarError, ValueError, KeyError, cv2.error) as error:
        raise DataError(
            path,
            expected="a shard of edgeseg label",
            found=f"one that cannot be read ({error})",
            next_step="See what is wrong with: edgeseg label-check FOLDER",
        ) from error


def _frame(key: str, parts: Mapping[str, bytes]) -> LabelledFrame:
    mask = cv2.imdecode(np.frombuffer(parts["png"], np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2:
        raise ValueError(f"the mask of {key} is damaged")
    image = None
    if "jpg" in parts:
        bgr = cv2.imdecode(np.frombuffer(parts["jpg"], np.uint8), cv2.IMREAD_COLOR)
        image = np.asarray(cv2.cvtColor(np.asarray(bgr), cv2.COLOR_BGR2RGB), np.uint8)
    return LabelledFrame(key, np.asarray(mask, np.uint8), json.loads(parts["json"]), image)


def _encoded(suffix: str, image: Image, parameters: list[int]) -> bytes:
    return cv2.imencode(suffix, image, parameters)[1].tobytes()


def _confidences(segmentation: Segmentation, confidence: Mask) -> dict[str, Any]:
    ids = segmentation.model_mask.ravel()
    counts = np.bincount(ids, minlength=len(segmentation.labels))
    sums = np.bincount(ids, confidence.ravel() / 255, minlength=len(segmentation.labels))
    return {
        "confidence": round(float(confidence.mean()) / 255, 4),
        "class_confidence": {
            c.name: round(float(sums[c.id] / counts[c.id]), 4)
            for c in segmentation.labels.classes
            if counts[c.id]
        },
    }
