"""Where the page's images come from: a split, a folder, an upload."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.camera import ImageFolder, decode_image, read_image
from edgeseg.camera.picture_headers import check_whole, picture_size
from edgeseg.dashboard.parts import LabelledData
from edgeseg.errors import PictureSizeError
from edgeseg.labels import LabelSet, Mask
from edgeseg.resize import Image

MAX_PIXELS = 40_000_000
MAX_UPLOAD_MB = 50


@dataclass(frozen=True)
class Picture:
    """An image ``uint8 [H, W, 3]`` RGB, with its class map ``uint8 [H, W]`` where there is one."""

    name: str
    image: Image
    truth: Mask | None = None
    labels: LabelSet | None = None

    @property
    def key(self) -> str:
        """Names the pixels, for what is kept of predictions of them."""
        digest = hashlib.blake2b(repr(self.image.shape).encode(), digest_size=16)
        digest.update(self.image.tobytes())
        return digest.hexdigest()


class SplitImages:
    """The images of a dataset's split, with their truth."""

    def __init__(self, data: LabelledData, split: str) -> None:
        self._data = data
        self._items: dict[str, Any] = {item.name: item for item in data.items(split)}
        self.names = list(self._items)

    def read(self, name: str) -> Picture:
        """
        Raises:
            DataError: The files cannot be read, or their sizes differ.
        """
        sample = self._data.read(self._items[name])
        return Picture(name, sample.image, sample.mask, self._data.labels)


class FolderImages:
    """The images directly in a folder, or one image; none has a truth.

    Raises:
        SourceError: There is none, or the first cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._files = {file.name: file for file in ImageFolder(path).paths}
        self.names = list(self._files)

    def read(self, name: str) -> Picture:
        """
        Raises:
            SourceError: It is no image.
        """
        return Picture(name, read_image(self._files[name]))


def shared_start(names: Sequence[str]) -> str:
    """What all names begin with, up to a separator: it tells nothing, and hides what differs."""
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    differs = (index for index, letters in enumerate(zip(first, last, strict=False)) if len(set(letters)) > 1)
    start = first[: next(differs, 0)]
    return start[: max(start.rfind(separator) for separator in "/_- ") + 1]


def read_upload(name: str, data: bytes) -> Picture:
    """An uploaded file as a picture. Its header is looked at before any pixel of it is decoded.

    Raises:
        PictureError: It is no PNG, JPEG, WebP or BMP, is damaged, or has more than ``MAX_PIXELS``.
        SourceError: It cannot be decoded.
    """
    width, height = picture_size(data, name)
    if width * height > MAX_PIXELS:
        raise PictureSizeError(
            name,
            expected=f"an image of at most {MAX_PIXELS // 10**6} million pixels",
            found=f"{width}x{height}",
            next_step="Make it smaller first.",
        )
    check_whole(data, name)
    return Picture(name, decode_image(data, name))
