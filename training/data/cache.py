"""A split decoded and resized once, kept as memory maps.

A cached split is a folder with ``images.npy`` ``uint8 [N, H, W, 3]`` RGB, ``masks.npy`` ``uint8 [N, H, W]``
and ``split.json``. Its name holds a key of the files, the label mapping and the size, so that what changed is
decoded again; it appears whole, by a rename, or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.atomic import atomic_folder
from edgeseg.cache_folder import cache_folder
from edgeseg.errors import CacheError, UsageError
from edgeseg.labels import LabelSet
from edgeseg.lock import only_one
from edgeseg.resize import resize_image, resize_mask
from edgeseg.training.data.dataset import Dataset, Item
from edgeseg.training.data.parallel import Advance, ordered_map, require_started

Counts = npt.NDArray[np.int64]

_VERSION = 1
_IMAGES, _MASKS, _INFO = "images.npy", "masks.npy", "split.json"
_SPARE_BYTES = 1 << 20


@dataclass(frozen=True)
class CachedSplit:
    """A split at one size, open for reading.

    Attributes:
        path: Its folder.
        images: ``uint8 [N, H, W, 3]`` RGB, a read-only memory map, or chosen rows of one.
        masks: ``uint8 [N, H, W]`` class ids, likewise.
        names: The items' names, in the same order.
        labels: What the class ids mean.
        histogram: Pixels of each class, ``int64 [C]``.
        ignored: Pixels of no class.
        fingerprint: :meth:`Dataset.fingerprint` of the split it was made from.
    """

    path: Path
    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    names: tuple[str, ...]
    labels: LabelSet
    histogram: Counts
    ignored: int
    fingerprint: str

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process maps the files itself: no pixel is copied to it.
        return open_cached, (self.path,)


def prepare(
    dataset: Dataset,
    split: str,
    height: int,
    width: int,
    *,
    cache_dir: Path | None = None,
    workers: int | None = None,
    on_progress: Advance | None = None,
) -> CachedSplit:
    """The split at ``height`` × ``width``, from the cache or decoded into it.

    Images are resized by area, masks by nearest neighbour (:mod:`edgeseg.resize`). Several processes may ask
    for the same split: one decodes, the others wait for it.

    Args:
        dataset: What to decode.
        split: One of its splits.
        height: Pixels, as is ``width``.
        width: See ``height``.
        cache_dir: Where caches are kept; by default :func:`edgeseg.cache_folder.cache_folder`.
        workers: Processes that decode; by default as many as pay off.
        on_progress: Called with (finished, total); not called when the cache is there already.

    Raises:
        DataError: An image or mask is missing, damaged, or of another size than its partner; or a worker
            process ended, as it does where a script calls this outside ``if __name__ == "__main__":``.
        LabelError: A mask holds ids or colours that the labels do not map.
        UsageError: The size is not positive.
        CacheError: The cache cannot be written, for instance because the disk is full. Nothing is left of it.
    """
    _require_positive(height, width)
    items = dataset.items(split)
    fingerprint = dataset.fingerprint(split)
    root = cache_folder() if cache_dir is None else cache_dir
    name = re.sub(r"[^\w-]", "_", f"{dataset.name}-{split}-{height}x{width}")
    folder = root / f"{name}-{_key(items, fingerprint, height, width)}"
    if not folder.exists():
        require_started()  # before the lock: the parent holds it and waits for this process
        target = _Target(folder, len(items), height, width)
        with _writing_to(root), only_one(folder):
            _build(dataset, split, fingerprint, target, workers, on_progress)
    # A name or colour may have changed since the split was decoded; its masks hold class ids, not raw ones.
    return replace(open_cached(folder), labels=replace(dataset.labels, raw_ids={}, raw_colors={}))


def open_cached(folder: Path) -> CachedSplit:
    """Open a folder that :func:`prepare` made.

    Raises:
        CacheError: It is missing or damaged.
    """
    try:
        info = json.loads((folder / _INFO).read_text(encoding="utf-8"))
        images, masks = (np.load(folder / name, mmap_mode="r") for name in (_IMAGES, _MASKS))
        labels = LabelSet.from_dict(info["labels"])
    except (OSError, ValueError, KeyError) as error:
        raise CacheError(
            folder,
            expected="a cached split as it was written",
            found=f"{type(error).__name__}: {error}",
            next_step="Delete this folder; the split is then decoded again.",
        ) from error
    return CachedSplit(
        path=folder,
        images=images,
        masks=masks,
        names=tuple(info["names"]),
        labels=labels,
        histogram=np.array(info["histogram"], np.int64),
        ignored=info["ignored"],
        fingerprint=info["fingerprint"],
    )


@dataclass(frozen=True)
class _Target:
    """Where decoded items go: the folder, and the arrays' size."""

    folder: Path
    count: int
    height: int
    width: int


def _build(
    dataset: Dataset,
    split: str,
    fingerprint: str,
    target: _Target,
    workers: int | None,
    on_progress: Advance | None,
) -> None:
    """Make the folder, unless another process made it while its lock was waited for."""
    if target.folder.exists():
        return
    _remove_interrupted(target.folder)
    _require_space(target.folder.parent, target.count * target.height * target.width * 4 + _SPARE_BYTES)
    with atomic_folder(target.folder) as staging:
        staged = replace(target, folder=staging)
        counts = _decode(dataset, dataset.items(split), staged, workers, on_progress)
        _describe(dataset, split, fingerprint, counts, staging)


def _decode(
    dataset: Dataset,
    items: Sequence[Item],
    target: _Target,
    workers: int | None,
    on_progress: Advance | None,
) -> Counts:
    """Write both arrays; gives the pixels of each mask value, ``int64 [256]``."""
    images_at = _reserve(target.folder / _IMAGES, (target.count, target.height, target.width, 3))
    masks_at = _reserve(target.folder / _MASKS, (target.count, target.height, target.width))
    write = partial(_write_item, dataset.without_items(), target, images_at, masks_at)
    counts = np.zeros(256, np.int64)
    for one in ordered_map(write, list(enumerate(items)), workers, on_progress):
        counts += one
    return counts


def _write_item(
    dataset: Dataset, target: _Target, images_at: int, masks_at: int, numbered: tuple[int, Item]
) -> Counts:
    """Write one item to its place in both files; gives the pixels of each mask value, ``int64 [256]``."""
    index, item = numbered
    sample = dataset.read(item)
    image = resize_image(sample.image, target.height, target.width)
    mask = resize_mask(sample.mask, target.height, target.width)
    _write_at(target.folder / _IMAGES, images_at + index * image.nbytes, image)
    _write_at(target.folder / _MASKS, masks_at + index * mask.nbytes, mask)
    return np.bincount(mask.ravel(), minlength=256)


def _describe(dataset: Dataset, split: str, fingerprint: str, counts: Counts, folder: Path) -> None:
    labels = dataset.labels
    info = {
        "version": _VERSION,
        "dataset": dataset.spec,
        "split": split,
        "fingerprint": fingerprint,
        "labels": labels.to_dict(),
        "histogram": counts[: len(labels)].tolist(),
        "ignored": int(counts[labels.ignore_index]),
        "names": [item.name for item in dataset.items(split)],
    }
    (folder / _INFO).write_text(json.dumps(info, ensure_ascii=False, indent=1), encoding="utf-8")


def _reserve(file: Path, shape: tuple[int, ...]) -> int:
    """Make a ``.npy`` file of this shape with its blocks reserved; gives the offset of its data.

    Writing through a memory map to a disk that turns out to be full kills the process. So the blocks are
    taken first, and the data are written by calls that can fail.
    """
    header = io.BytesIO()
    values = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, values)
    with file.open("wb") as out:
        out.write(header.getvalue())
        out.flush()
        os.posix_fallocate(out.fileno(), 0, out.tell() + int(np.prod(shape)))
        return out.tell()


def _write_at(file: Path, offset: int, array: npt.NDArray[np.uint8]) -> None:
    with file.open("r+b") as out:
        out.seek(offset)
        out.write(np.ascontiguousarray(array).data)


def _key(items: Sequence[Item], fingerprint: str, height: int, width: int) -> str:
    # The newest change stands beside the content: an edit in the middle of an uncompressed image is seen too.
    files = [path for item in items for path in (item.image, item.mask) if path is not None]
    newest = max((path.stat().st_mtime_ns for path in files), default=0)
    values = f"{_VERSION} {fingerprint} {newest} {height} {width}"
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def _require_positive(height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise UsageError(
            "size", expected="a positive size", found=f"{height}x{width}", next_step="Correct --size."
        )


def _require_space(root: Path, needed: int) -> None:
    free = shutil.disk_usage(root).free
    if free < needed:
        raise _full(root, f"{needed / 1e6:.0f} MB free", f"{free / 1e6:.0f} MB")


def _remove_interrupted(folder: Path) -> None:
    """Remove what a killed process left of this split; whoever holds its lock is alone with it."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        shutil.rmtree(part)


@contextmanager
def _writing_to(root: Path) -> Iterator[None]:
    """Make the cache's folder, and say as a cache's what goes wrong on its disk."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(root, "enough free space", error.strerror or "a full disk") from error
        raise CacheError(
            root,
            expected="a folder that can be written",
            found=f"{error.strerror or error} ({error.filename or root})",
            next_step="Set EDGESEG_CACHE to another folder.",
        ) from error


def _full(root: Path, expected: str, found: str) -> CacheError:
    return CacheError(
        root,
        expected=f"{expected} for the decoded images",
        found=found,
        next_step="Make room, or set EDGESEG_CACHE to a folder on a larger disk; nothing was left there.",
    )
