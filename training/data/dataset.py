"""A dataset: images with class maps, in splits, and how they are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from edgeseg.errors import DataError
from edgeseg.evaluation import Sample
from edgeseg.labels import LabelSet, Mask
from edgeseg.resize import Image
from edgeseg.training.data.images import opened, read_image_file, read_mask_file

Severity = Literal["error", "warning"]

_BLOCK = 16 * 1024


@dataclass(frozen=True)
class Item:
    """One labelled image. ``name`` is unique in its split; a drawn dataset has no files."""

    name: str
    image: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Finding:
    """Something wrong (``error``: training must not start) or odd (``warning``) in a dataset.

    ``code`` is stable, for machines; ``files`` names a few of the ``count`` places.
    """

    severity: Severity
    code: str
    message: str
    split: str | None = None
    count: int = 1
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """Images with class maps, in splits. Workers get a copy, so it must pickle.

    A dataset kept in files is this class as it is; one that draws its images overrides :meth:`read_image`,
    :meth:`read_mask` and :meth:`identity`.

    Args:
        spec: What ``--data`` said, for instance ``camvid:data/camvid``.
        name: The part of it before the colon.
        labels: What the class ids mean, and how raw ids or colours become class ids.
        splits: Split name to its items.
        parts: A split that was cut out of another one, to that other one; the two share images on purpose.
        problems: What opening found wrong. It does not stop a check; it stops :meth:`items` of that split.
    """

    spec: str
    name: str
    labels: LabelSet
    splits: Mapping[str, Sequence[Item]]
    parts: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()

    def items(self, split: str) -> Sequence[Item]:
        """The items of a split.

        Raises:
            DataError: There is no such split, it is empty, or it was found faulty when it was opened.
        """
        items = self.splits.get(split, ())
        if not items:
            filled = [f"{name} ({len(listed)})" for name, listed in self.splits.items() if listed]
            raise DataError(
                f"split {split!r} of {self.spec}",
                expected="at least one labelled image",
                found=f"none; the splits are {', '.join(filled) or 'all empty'}",
                next_step="Name one of these splits, or map them in a data.yaml.",
            )
        self._refuse_problems(split)
        return items

    def read_image(self, item: Item) -> Image:
        """The image ``uint8 [H, W, 3]`` RGB; grayscale files are repeated over the three channels.

        Raises:
            DataError: The file is missing or damaged.
        """
        return read_image_file(_file(item.image, item, "image"))

    def read_mask(self, item: Item) -> Mask:
        """The class map ``uint8 [H, W]``, at the label's own size.

        Raises:
            DataError: The file is missing, damaged or no mask.
            LabelError: It holds ids or colours that the label set does not map.
        """
        path = _file(item.mask, item, "mask")
        raw = read_mask_file(path, colors=bool(self.labels.raw_colors))
        encode = self.labels.encode_colors if self.labels.raw_colors else self.labels.encode_ids
        return encode(raw, str(path))

    def read(self, item: Item) -> Sample:
        """Image and mask together.

        Raises:
            DataError: One cannot be read, or their sizes differ.
        """
        image, mask = self.read_image(item), self.read_mask(item)
        if image.shape[:2] != mask.shape:
            raise DataError(
                item.mask or item.name,
                expected=f"the size of its image, {image.shape[0]}x{image.shape[1]}",
                found=f"{mask.shape[0]}x{mask.shape[1]}",
                next_step="Run 'edgeseg data check' to list every such pair, then label the image itself.",
            )
        return Sample(item.name, image, mask)

    def samples(self, split: str, limit: int | None = None) -> Iterator[Sample]:
        """The samples of a split at the label's own size, the first ``limit`` or all."""
        for item in self.items(split)[:limit]:
            yield self.read(item)

    def without_items(self) -> Dataset:
        """A copy that can only read: what a worker process needs, and no more to send to it."""
        return replace(self, splits={}, parts={}, problems=())

    def identity(self, item: Item) -> Iterator[bytes]:
        """What tells this item from any other, for :meth:`fingerprint`: the files' sizes and contents.

        Of a long file the first and last 16 KiB stand for the whole: a PNG ends with a checksum of all its
        pixels, and a changed JPEG changes in length.
        """
        for path in (item.image, item.mask):
            yield b"" if path is None else _ends(path)

    def fingerprint(self, split: str) -> str:
        """SHA-256 (hex) of a split: its items' names and contents, and what the class ids mean.

        That is the classes' names in order, the ignore index and the mapping of raw ids or colours. Where the
        dataset lies, what its label set is called and the colours that classes are drawn in do not count.

        Raises:
            DataError: A file is missing.
        """
        digest = hashlib.sha256(_mapping(self.labels))
        for item in self.items(split):
            digest.update(item.name.encode() + b"\0")
            for part in self.identity(item):
                digest.update(part)
        return digest.hexdigest()

    def _refuse_problems(self, split: str) -> None:
        faults = [p for p in self.problems if p.severity == "error" and p.split in (split, None)]
        if faults:
            raise DataError(
                f"split {split!r} of {self.spec}",
                expected="no faults",
                found="; ".join(f.message for f in faults),
                next_step=f"Run 'edgeseg data check --data {self.spec}' and correct what it lists.",
            )


def _file(path: Path | None, item: Item, what: str) -> Path:
    if path is None:
        raise DataError(
            item.name, expected=f"a file with its {what}", found="none", next_step="Remove or complete it."
        )
    return path


def _ends(path: Path) -> bytes:
    with opened(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(_BLOCK)
        file.seek(max(size - _BLOCK, 0))
        return hashlib.sha256(str(size).encode() + head + file.read(_BLOCK)).digest()


def _mapping(labels: LabelSet) -> bytes:
    """All that decides which class id a raw pixel becomes, and which class that is."""
    ids, colors = sorted(labels.raw_ids.items()), sorted(labels.raw_colors.items())
    return json.dumps([labels.names, labels.ignore_index, ids, colors]).encode()
