"""The golden frames of a bundle: real inputs, and the masks that its models gave of them at export."""

from __future__ import annotations

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseg.bundle.manifest import Manifest
from edgeseg.errors import GoldenMismatchError
from edgeseg.labels import Mask

MAX_GOLDEN_FRAMES = 64
MAX_GOLDEN_BYTES = 256 * 2**20
"""Of all arrays that are read, unpacked."""

# Those of NumPy, and those that zipfile unpacks no further than it is asked to.
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile and NumPy raise of archives that are damaged, encrypted or of an unknown kind.
_FAILURES = (
    KeyError,
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
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
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
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


def _read_array(archive: zipfile.ZipFile, name: str, item_shape: tuple[int, ...], most: int) -> Mask:
    """The array ``uint8 [K, *item_shape]``, K from 1 to ``MAX_GOLDEN_FRAMES``; of ``most`` bytes at most."""
    if archive.getinfo(f"{name}.npy").compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} is packed in another way than NumPy's")
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is stored in another NumPy format than 1.0")
        shape, in_fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        fits = dtype == np.uint8 and not in_fortran_order and shape[1:] == item_shape
        if not fits or not 1 <= shape[0] <= MAX_GOLDEN_FRAMES:
            raise ValueError(f"{name} is {dtype} {list(shape)}")
        if math.prod(shape) > most:
            raise ValueError(f"{name} {list(shape)} makes the arrays larger than {MAX_GOLDEN_BYTES} bytes")
        data = file.read(math.prod(shape))
    return np.frombuffer(data, np.uint8).reshape(shape)


def _bad(source: Path, found: str) -> GoldenMismatchError:
    return GoldenMismatchError(
        source,
        expected=f"1 to {MAX_GOLDEN_FRAMES} uint8 frames of the model's input size, and masks of them",
        found=f"an archive that does not hold them ({found})",
        next_step="Export the bundle again.",
    )
