"""Any labelled folder: images and masks of the same stem, and a ``labels.yaml``.

Three layouts, told apart by the folders that are there (``SPLIT`` is any name; ``train`` and ``val`` are what
training looks for)::

    images/   masks/                     no splits
    SPLIT/images/   SPLIT/masks/
    images/SPLIT/   masks/SPLIT/         one of them train: other folders are drives, not splits

Without splits, the images are sorted by name and the last fifth is ``val``: one block at the end, because
neighbouring frames of a drive look alike and must not stand on both sides. The split depends on the names
alone. Images may lie in deeper folders; a stem is the path below ``images/`` without its suffix.

The labels file is described in :mod:`edgeseg.training.data.labels_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseg.camera import IMAGE_SUFFIXES
from edgeseg.errors import DataError
from edgeseg.labels import LabelSet
from edgeseg.training.data.dataset import Dataset, Finding, Item
from edgeseg.training.data.labels_file import LABELS_FILE, parse_labels, read_labels
from edgeseg.training.data.pairing import no_samples, pair, require_folder

_VAL_SHARE = 5
_UNSPLIT = ""


def open_folder(text: str, labels: Path | dict[str, Any] | None = None) -> Dataset:
    """A folder in one of the module's layouts.

    Args:
        text: The folder.
        labels: Another labels file, or its content; by default ``labels.yaml`` in the folder.

    Raises:
        DataError: The folder, its pairs or its labels are missing or malformed.
    """
    root = require_folder(text, "folder:PATH")
    splits: dict[str, list[Item]] = {}
    problems: list[Finding] = []
    for split, (images, masks) in _split_folders(root).items():
        splits[split], found = pair(_by_stem(images), _by_stem(masks), split)
        problems += found
    if not any(splits.values()):
        raise no_samples(root, "images/ and masks/ (or SPLIT/images, or images/SPLIT) with equal stems")
    label_set = _label_set(root, labels)
    if list(splits) == [_UNSPLIT]:
        splits, problems = _divide(splits[_UNSPLIT]), [_for_all_splits(p) for p in problems]
    return Dataset(f"folder:{text}", "folder", label_set, splits, problems=tuple(problems))


def _split_folders(root: Path) -> dict[str, tuple[Path, Path]]:
    """Split name to its folders of images and masks."""
    images, masks = root / "images", root / "masks"
    if images.is_dir() and masks.is_dir():
        names = sorted(d.name for d in images.iterdir() if d.is_dir() and (masks / d.name).is_dir())
        if "train" not in names:
            return {_UNSPLIT: (images, masks)}
        return {name: (images / name, masks / name) for name in names}
    return {
        d.name: (d / "images", d / "masks")
        for d in sorted(root.iterdir())
        if (d / "images").is_dir() and (d / "masks").is_dir()
    }


def _by_stem(folder: Path) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for file in sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file()):
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in by_stem:
            raise DataError(
                file,
                expected="one file for each stem",
                found=f"also {by_stem[stem].name}",
                next_step="Remove or rename one of the two.",
            )
        by_stem[stem] = file
    return by_stem


def _divide(items: list[Item]) -> dict[str, list[Item]]:
    held_out = max(len(items) // _VAL_SHARE, 1) if len(items) > 1 else 0
    cut = len(items) - held_out
    return {"train": items[:cut], "val": items[cut:]}


def _for_all_splits(finding: Finding) -> Finding:
    return Finding(finding.severity, finding.code, finding.message, None, finding.count, finding.files)


def _label_set(root: Path, labels: Path | dict[str, Any] | None) -> LabelSet:
    name = root.resolve().name
    if isinstance(labels, dict):
        return parse_labels(labels, f"labels of {root}", name)
    return read_labels(labels or root / LABELS_FILE, name)
