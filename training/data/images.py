"""Image and mask files, read whole or refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import DataError
from edgeseg.resize import Image

_PNG_SIGNATURE, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND"
_PNG_COLOR_TYPE, _PNG_PALETTE = 25, 3
_JPEG_SIGNATURE, _JPEG_SCAN, _JPEG_END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"


def read_image_file(path: Path) -> Image:
    """An image file as ``uint8 [H, W, 3]`` RGB, turned as its EXIF orientation says.

    Raises:
        DataError: The file is missing, no image, or cut short.
    """
    bgr = _decode(_read_bytes(path), cv2.IMREAD_COLOR, path)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_mask_file(path: Path, *, colors: bool = False) -> npt.NDArray[Any]:
    """A mask file as raw ids ``integer [H, W]``, or with ``colors`` as ``uint8 [H, W, 3]`` RGB.

    Ids in three equal channels, which some tools write, are read from one of them.

    Raises:
        DataError: The file is missing, damaged, lossy (JPEG), or holds colours where ids were expected.
    """
    data = _read_bytes(path)
    if data.startswith(_JPEG_SIGNATURE):
        raise DataError(
            path,
            expected="a lossless mask, such as PNG",
            found="JPEG, whose compression invents ids at every edge",
            next_step="Export the masks again as PNG; converting these would keep the invented ids.",
        )
    if colors:
        bgr = _decode(data, cv2.IMREAD_COLOR, path)
        return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    raw = _decode(data, cv2.IMREAD_UNCHANGED, path)
    if raw.ndim == 3:
        raw = _one_channel(raw, data, path)
    if not np.issubdtype(raw.dtype, np.integer):
        raise DataError(
            path, expected="whole numbers", found=str(raw.dtype), next_step="Export the masks as 8-bit PNG."
        )
    return raw


def is_jpeg_file(path: Path) -> bool:
    """Whether a file that can be read is a JPEG, whatever its suffix says."""
    with path.open("rb") as file:
        return file.read(len(_JPEG_SIGNATURE)) == _JPEG_SIGNATURE


def is_image_file(path: Path) -> bool:
    """Whether a file is a whole image."""
    try:
        read_image_file(path)
    except DataError:
        return False
    return True


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file of a dataset, to be read in the block.

    Raises:
        DataError: It cannot be opened, or not be read.
    """
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(
            path,
            expected="a file that can be read",
            found=error.strerror or str(error),
            next_step="Run 'edgeseg data check' to list every such file.",
        ) from error


def _read_bytes(path: Path) -> bytes:
    with opened(path) as file:
        return file.read()


def _decode(data: bytes, flags: int, path: Path) -> npt.NDArray[Any]:
    # OpenCV fills the missing part of a file that was cut short and says nothing, so the end is looked for.
    if _is_cut_short(data):
        raise _unreadable(path, f"a file cut short after {len(data)} bytes")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error as error:
        raise _unreadable(path, f"a damaged file ({error.err})") from error
    if decoded is None:
        raise _unreadable(path, "an empty file" if not data else "a damaged file or another format")
    return np.asarray(decoded)


def _is_cut_short(data: bytes) -> bool:
    if data.startswith(_PNG_SIGNATURE):
        return _PNG_END not in data[-64:]
    if data.startswith(_JPEG_SIGNATURE):
        # Within a scan 0xff is always followed by a stuffed zero, so these markers cannot occur by chance.
        return data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)
    return False


def _unreadable(path: Path, found: str) -> DataError:
    return DataError(
        path,
        expected="a whole image file (PNG, JPEG, BMP, WebP, TIFF, PNM)",
        found=found,
        next_step="Copy the file again, or remove it with its partner.",
    )


def _one_channel(raw: npt.NDArray[Any], data: bytes, path: Path) -> npt.NDArray[Any]:
    palette = data.startswith(_PNG_SIGNATURE) and data[_PNG_COLOR_TYPE] == _PNG_PALETTE
    first = raw[..., 0]
    if palette or any((raw[..., c] != first).any() for c in range(1, min(raw.shape[2], 3))):
        raise DataError(
            path,
            expected="a mask with one channel of ids",
            found="a palette of colours" if palette else f"colours in {raw.shape[2]} channels",
            next_step="Export ids, or use 'folder:' and say 'masks: colors' in labels.yaml.",
        )
    return np.ascontiguousarray(first)
