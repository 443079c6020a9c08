"""The golden frames of a bundle: real inputs, and the masks that its models gave of them at export."""

from __future__ import annotations

import io
import math
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


@dataclass(frozen=True)
class Golden:
    """Real frames ``uint8 [K, H, W, 3]`` and, per model file, the masks ``uint8 [K, H, W]`` of them."""

    frames: Mask
    masks: Mapping[str, Mask]


def read_golden(source: Path, data: bytes, manifest: Manifest) -> Golden:
    """Read ``golden.npz`` (arrays ``frames`` and ``masks_PRECISION``) without pickle.

    A small archive can unpack to any size, so that each array's header is checked before its memory is taken.

    Raises:
        GoldenMismatchError: The archive is damaged, or does not hold what the manifest's models need.
    """
    one_map = (manifest.input.height, manifest.input.width)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            frames = _read_array(archive, "frames", (*one_map, 3))
            masks = {m.file: _read_array(archive, f"masks_{m.precision}", one_map) for m in manifest.models}
    except (KeyError, ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise _bad(source, str(error)) from error
    for mask in masks.values():
        if len(mask) != len(frames):
            raise _bad(source, f"{len(frames)} frames and {len(mask)} masks")
    return Golden(frames, masks)


def _read_array(archive: zipfile.ZipFile, name: str, item_shape: tuple[int, ...]) -> Mask:
    """The array ``uint8 [K, *item_shape]`` with K from 1 to ``MAX_GOLDEN_FRAMES``."""
    with archive.open(f"{name}.npy") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} is stored in another NumPy format than 1.0")
        shape, in_fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
        fits = dtype == np.uint8 and not in_fortran_order and shape[1:] == item_shape
        if not fits or not 1 <= shape[0] <= MAX_GOLDEN_FRAMES:
            raise ValueError(f"{name} is {dtype} {list(shape)}")
        data = file.read(math.prod(shape))
    return np.frombuffer(data, np.uint8).reshape(shape)


def _bad(source: Path, found: str) -> GoldenMismatchError:
    return GoldenMismatchError(
        source,
        expected=f"1 to {MAX_GOLDEN_FRAMES} uint8 frames of the model's input size, and masks of them",
        found=f"an archive that does not hold them ({found})",
        next_step="Export the bundle again.",
    )
