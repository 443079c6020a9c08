"""Images and masks that belong together, and what has no partner."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from edgeseg.errors import DataError
from edgeseg.training.data.dataset import Finding, Item

_SHOWN = 5


def pair(
    images: Mapping[str, Path], masks: Mapping[str, Path], split: str
) -> tuple[list[Item], list[Finding]]:
    """Items of the stems that have both, in order of name; a finding for the stems that have one."""
    items = [Item(stem, images[stem], masks[stem]) for stem in sorted(images.keys() & masks.keys())]
    lonely = (
        ("unpaired-image", "image", "mask", {s: images[s] for s in images.keys() - masks.keys()}),
        ("unpaired-mask", "mask", "image", {s: masks[s] for s in masks.keys() - images.keys()}),
    )
    findings = [_unpaired(code, has, lacks, files, split) for code, has, lacks, files in lonely if files]
    return items, findings


def require_folder(text: str, usage: str) -> Path:
    """The folder that a dataset's PATH names.

    Raises:
        DataError: There is none.
    """
    root = Path(text).expanduser()
    if not text or not root.is_dir():
        raise DataError(
            f"--data {usage}",
            expected="a folder that exists",
            found=repr(text) if text else "no path",
            next_step="Correct the path; it is taken from the current folder.",
        )
    return root


def no_samples(root: Path, layout: str) -> DataError:
    """The error for a folder without a single pair."""
    found = sorted(path.name for path in root.iterdir())
    shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    return DataError(
        root,
        expected=layout,
        found=f"no such pair; the folder holds {shown}" if found else "an empty folder",
        next_step="Point --data at the folder that holds them.",
    )


def _unpaired(code: str, has: str, lacks: str, files: Mapping[str, Path], split: str) -> Finding:
    paths = tuple(str(files[stem]) for stem in sorted(files)[:_SHOWN])
    message = f"{len(files)} {has}{_plural(files)} without a {lacks} of the same stem, such as {paths[0]}"
    return Finding("error", code, message, split, len(files), paths)


def _plural(items: Collection[object]) -> str:
    return "" if len(items) == 1 else "s"
