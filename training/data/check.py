"""What is wrong with a dataset before it costs a night. Every file is read; none stops the rest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import DataError, LabelError
from edgeseg.labels import LabelSet
from edgeseg.training.data.dataset import Dataset, Finding, Item, Severity
from edgeseg.training.data.images import is_image_file, is_jpeg_file
from edgeseg.training.data.parallel import Advance, ordered_map

Counts = npt.NDArray[np.int64]

_NEEDED_SPLITS = ("train", "val")
_SHOWN = 5
_FAULTS = {
    "missing-file": "items lack a file",
    "unreadable-file": "files cannot be read",
    "size-mismatch": "masks have another size than their image",
    "unmapped-id": "masks hold ids or colours that the labels do not map",
    "bad-annotation": "annotations cannot be drawn",
    "jpeg-mask": "masks are JPEG, whose compression invents ids at every edge",
    "rgb-mask": "masks hold colours where ids were expected",
    "one-class-mask": "masks hold one class alone",
    "unlabelled-mask": "masks are ignored in every pixel",
}
_ONLY_ODD = ("one-class-mask", "unlabelled-mask")


@dataclass(frozen=True)
class SplitStats:
    """What a split holds.

    Attributes:
        items: Labelled images in it, the faulty ones too.
        histogram: Pixels of each class at the label's size, ``int64 [C]``.
        images_with: Images that hold each class, ``int64 [C]``.
        ignored: Pixels of no class.
        sizes: ``HxW`` of the images to how many have it.
    """

    items: int
    histogram: Counts
    images_with: Counts
    ignored: int
    sizes: Mapping[str, int]

    def shares(self) -> npt.NDArray[np.float64]:
        """Each class's share of the pixels that count, 0 to 1; all 0 where none counts."""
        return self.histogram / max(int(self.histogram.sum()), 1)


@dataclass(frozen=True)
class CheckReport:
    """What :func:`check_dataset` found."""

    dataset: str
    labels: LabelSet
    findings: tuple[Finding, ...]
    splits: Mapping[str, SplitStats]

    @property
    def ok(self) -> bool:
        """Whether training can start: there is no finding of severity ``error``."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "dataset": self.dataset,
            "ok": self.ok,
            "classes": list(self.labels.names),
            "findings": [asdict(finding) for finding in self.findings],
            "splits": {name: self._split(stats) for name, stats in self.splits.items()},
        }

    def _split(self, stats: SplitStats) -> dict[str, Any]:
        rows = zip(self.labels.names, stats.histogram, stats.shares(), stats.images_with, strict=True)
        return {
            "items": stats.items,
            "sizes": dict(stats.sizes),
            "ignored_pixels": stats.ignored,
            "per_class": {
                name: {"pixels": int(pixels), "share": float(share), "images": int(images)}
                for name, pixels, share, images in rows
            },
        }


def check_dataset(
    dataset: Dataset, on_progress: Advance | None = None, workers: int | None = None
) -> CheckReport:
    """Read every image and mask of every split, and collect what is wrong or odd.

    Errors are what training would fail on or be misled by: files missing, unreadable or unpaired, sizes that
    differ, ids that are not mapped, RGB or JPEG masks, a split that is missing or holds one class, and one
    image in two splits. Images are compared by their pixels, whatever the files are called. Warnings are
    masks of one class or without any, classes absent from a split, and an image twice in one split.
    """
    items = list(dict.fromkeys(item for listed in dataset.splits.values() for item in listed))
    scan = partial(_scan, dataset.without_items())
    scans = dict(zip(items, ordered_map(scan, items, workers, on_progress), strict=True))
    by_split = {name: [scans[item] for item in listed] for name, listed in dataset.splits.items()}
    stats = {name: _stats(listed, dataset.labels) for name, listed in by_split.items()}
    findings = [
        *dataset.problems,
        *(found for name, listed in by_split.items() for found in _faults(name, listed)),
        *(found for name, one in stats.items() for found in _class_findings(name, one, dataset.labels)),
        *_missing_splits(dataset),
        *_repeated_images(by_split, dataset.parts),
    ]
    findings.sort(key=lambda finding: finding.severity != "error")
    return CheckReport(dataset.spec, dataset.labels, tuple(findings), stats)


@dataclass(frozen=True)
class _Fault:
    code: str
    file: str
    detail: str


@dataclass(frozen=True)
class _Scan:
    """What one item shows; ``counts`` are the pixels of each mask value, ``int64 [256]``."""

    name: str
    faults: tuple[_Fault, ...]
    digest: bytes | None
    size: str | None
    counts: Counts


def _scan(dataset: Dataset, item: Item) -> _Scan:
    faults: list[_Fault] = []
    image = mask = None
    try:
        image = dataset.read_image(item)
    except DataError as error:
        faults.append(_Fault(_file_code(item.image), error.subject, error.found))
    try:
        mask = dataset.read_mask(item)
    except DataError as error:
        faults.append(_Fault(_mask_code(item.mask, error), error.subject, error.found))
    if image is not None and mask is not None and image.shape[:2] != mask.shape:
        detail = f"image {_size(image)}, mask {_size(mask)}"
        faults.append(_Fault("size-mismatch", str(item.mask or item.name), detail))
    counts = np.zeros(256, np.int64) if mask is None else np.bincount(mask.ravel(), minlength=256)
    if mask is not None:
        faults += _odd_mask(counts, dataset.labels, str(item.mask or item.name))
    digest = None if image is None else hashlib.blake2b(image.tobytes() + _size(image).encode()).digest()
    return _Scan(item.name, tuple(faults), digest, None if image is None else _size(image), counts)


def _size(array: npt.NDArray[Any]) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"


def _file_code(path: Path | None) -> str:
    return "unreadable-file" if path is not None and path.is_file() else "missing-file"


def _mask_code(path: Path | None, error: DataError) -> str:
    if isinstance(error, LabelError):
        return "unmapped-id"
    if path is None:
        return "bad-annotation"
    if not path.is_file():
        return "missing-file"
    if is_jpeg_file(path):
        return "jpeg-mask"
    return "rgb-mask" if is_image_file(path) else "unreadable-file"


def _odd_mask(counts: Counts, labels: LabelSet, file: str) -> Iterator[_Fault]:
    present = np.flatnonzero(counts[: len(labels)])
    if len(present) == 0:
        yield _Fault("unlabelled-mask", file, "every pixel is ignored")
    elif len(present) == 1:
        yield _Fault("one-class-mask", file, f"only {labels.names[present[0]]}")


def _stats(scans: Sequence[_Scan], labels: LabelSet) -> SplitStats:
    counts = np.array([scan.counts for scan in scans], np.int64).reshape(len(scans), 256)
    classes = counts[:, : len(labels)]
    sizes = Counter(scan.size for scan in scans if scan.size)
    return SplitStats(
        items=len(scans),
        histogram=classes.sum(axis=0),
        images_with=(classes > 0).sum(axis=0),
        ignored=int(counts[:, labels.ignore_index].sum()),
        sizes=dict(sizes.most_common()),
    )


def _faults(split: str, scans: Sequence[_Scan]) -> Iterator[Finding]:
    """One finding for each kind of fault."""
    for code, what in _FAULTS.items():
        faults = [fault for scan in scans for fault in scan.faults if fault.code == code]
        if faults:
            first = faults[0]
            message = f"{len(faults)} of {len(scans)} {what}; {first.file}: {first.detail}"
            files = tuple(fault.file for fault in faults[:_SHOWN])
            severity: Severity = "warning" if code in _ONLY_ODD else "error"
            yield Finding(severity, code, message, split, len(faults), files)


def _class_findings(split: str, stats: SplitStats, labels: LabelSet) -> Iterator[Finding]:
    present = np.flatnonzero(stats.histogram)
    if len(labels) > 1 and len(present) < 2:
        only = ", ".join(labels.names[i] for i in present) or "none of the classes"
        hint = "; if the masks are 0 and 255, say 'masks: binary' in labels.yaml" if stats.ignored else ""
        yield Finding("error", "one-class-split", f"the whole split holds {only}{hint}", split)
        return
    absent = [name for name, pixels in zip(labels.names, stats.histogram, strict=True) if not pixels]
    if absent:
        message = f"no pixel of {', '.join(absent)}: not learned where in train, not scored where in val"
        yield Finding("warning", "absent-class", message, split, len(absent))


def _missing_splits(dataset: Dataset) -> Iterator[Finding]:
    for split in _NEEDED_SPLITS:
        if not dataset.splits.get(split):
            there = ", ".join(name for name, listed in dataset.splits.items() if listed)
            message = f"no split {split!r}, which training needs; there are {there}"
            yield Finding("error", "missing-split", message, split)


def _repeated_images(scans: Mapping[str, Sequence[_Scan]], parts: Mapping[str, str]) -> Iterator[Finding]:
    names = {split: _names_by_digest(listed) for split, listed in scans.items()}
    for split, by_digest in names.items():
        twice = [" = ".join(same) for same in by_digest.values() if len(same) > 1]
        if twice:
            message = f"images that are there more than once: {len(twice)}, such as {twice[0]}"
            yield Finding("warning", "image-twice", message, split, len(twice), tuple(twice[:_SHOWN]))
    for first, second in combinations(names, 2):
        shared = names[first].keys() & names[second].keys()
        if shared and parts.get(first) != second and parts.get(second) != first:
            pairs = sorted(f"{names[first][d][0]} = {names[second][d][0]}" for d in shared)
            message = f"images of {first} that are in {second} too: {len(pairs)}, such as {pairs[0]}"
            files = tuple(pairs[:_SHOWN])
            yield Finding("error", "image-in-two-splits", message, None, len(pairs), files)


def _names_by_digest(scans: Sequence[_Scan]) -> dict[bytes, list[str]]:
    names: dict[bytes, list[str]] = {}
    for scan in scans:
        if scan.digest:
            names.setdefault(scan.digest, []).append(scan.name)
    return names
