"""The golden frames of a bundle: real inputs, and the masks that its models gave of them at export."""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from edgeseg.bundle.manifest import Manifest
from edgeseg.bundle.members import shown
from edgeseg.errors import GoldenMismatchError
from edgeseg.labels import Mask

MAX_GOLDEN_FRAMES = 64
MAX_GOLDEN_BYTES = 256 * 2**20
"""Of all arrays that are read, unpacked."""

# Those of NumPy, and those that zipfile unpacks no further than it is asked to.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '\|u1', 'fortran_order': False, 'shape': \((\d{1,9}(?:, \d{1,9}){0,7},?)\), \} *\n"
)
_LONGEST_HEADER = 256
_END_BYTES, _LOCATOR_BYTES = 22, 20
_MAX_DIRECTORY_BYTES = 1 << 14
_LONGEST_FOUND = 300
# What zipfile and NumPy raise of archives that are damaged, encrypted or of an unknown kind.
_FAILURES = (
    KeyError,
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class Golden:
    """Real frames ``uint8 [K, H, W, 3]`` and, per model file, the masks ``uint8 [K, H, W]`` of them."""

    frames: Mask
    masks: Mapping[str, Mask]


def read_golden(source: Path, data: bytes, manifest: Manifest) -> Golden:
    """Read ``golden.npz`` (arrays ``frames`` and ``masks_PRECISION``) without pickle.

    A small archive can unpack to any size: each array's header is checked before its memory is taken, and
    all arrays together may be ``MAX_GOLDEN_BYTES``.

    Raises:
        GoldenMismatchError: The archive is damaged, or does not hold what the manifest's models need.
    """
    one_map = (manifest.input.height, manifest.input.width)
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_entries(archive)
            frames = _read_array(archive, "frames", (*one_map, 3), MAX_GOLDEN_BYTES)
            left = MAX_GOLDEN_BYTES - frames.nbytes
            masks = {}
            for model in manifest.models:
                masks[model.file] = _read_array(archive, f"masks_{model.precision}", one_map, left)
                left -= masks[model.file].nbytes
    except _FAILURES as error:
        raise _bad(source, str(error)) from error
    for mask in masks.values():
        if len(mask) != len(frames):
            raise _bad(source, f"{len(frames)} frames and {len(mask)} masks")
    return Golden(frames, masks)


def _check_directory(data: bytes) -> None:
    """Before zipfile makes an object of each entry: the archive ends plainly, with a short list of them.

    NumPy writes no comment, and no 64-bit directory for arrays that are small enough for a bundle.
    """
    end, locator = data[-_END_BYTES:], data[-_END_BYTES - _LOCATOR_BYTES : -_END_BYTES]
    if not end.startswith(b"PK\5\6") or end[-2:] != b"\0\0" or locator.startswith(b"PK\6\7"):
        raise ValueError("it does not end as NumPy ends an archive")
    if int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY_BYTES:
        raise ValueError("its list of arrays is too long")


def _check_entries(archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    if len(set(names)) != len(names):
        raise ValueError("it names an array twice")


def _read_array(archive: zipfile.ZipFile, name: str, item_shape: tuple[int, ...], most: int) -> Mask:
    """The array ``uint8 [K, *item_shape]``, K from 1 to ``MAX_GOLDEN_FRAMES``; of ``most`` bytes at most."""
    if archive.getinfo(f"{name}.npy").compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} is packed in another way than NumPy's")
    with archive.open(f"{name}.npy") as file:
        shape = _shape(name, file)
        if shape[1:] != item_shape or not 1 <= shape[0] <= MAX_GOLDEN_FRAMES:
            raise ValueError(f"{name} is {list(shape)}")
        if math.prod(shape) > most:
            raise ValueError(f"{name} {list(shape)} makes the arrays larger than {MAX_GOLDEN_BYTES} bytes")
        data = file.read(math.prod(shape))
    return np.frombuffer(data, np.uint8).reshape(shape)


def _shape(name: str, file: IO[bytes]) -> tuple[int, ...]:
    """From the header of a ``uint8`` array in C order, as NumPy writes it.

    NumPy's own reader takes any Python literal there, and Python's parser can be made to fail in many ways.
    """
    start = file.read(len(_MAGIC) + 2)
    length = int.from_bytes(start[len(_MAGIC) :], "little")
    match = _HEADER.fullmatch(file.read(min(length, _LONGEST_HEADER)))
    if not start.startswith(_MAGIC) or not match:
        raise ValueError(f"{name} is no uint8 array in NumPy's format 1.0")
    return tuple(int(number) for number in match[1].split(b",") if number)


def _bad(source: Path, found: str) -> GoldenMismatchError:
    return GoldenMismatchError(
        source,
        expected=f"1 to {MAX_GOLDEN_FRAMES} uint8 frames of the model's input size, and masks of them",
        found=f"an archive that does not hold them ({shown(found, _LONGEST_FOUND)})",
        next_step="Export the bundle again.",
    )
