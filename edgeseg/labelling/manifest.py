"""``manifest.json``: what a finished job wrote, made of the shards' records and so of what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from edgeseg.errors import DataError
from edgeseg.labelling.job import SCHEMA_VERSION, Job, Stored
from edgeseg.labelling.shards import (
    SHARDS,
    Failure,
    Record,
    VideoEnd,
    read_shard,
    record_path,
    sha256_of,
    shard_name,
)
from edgeseg.labelling.sources import Unit
from edgeseg.labels import LabelSet

MANIFEST_FILE = "manifest.json"


class ClassEntry(Stored):
    id: int
    name: str
    color: tuple[int, int, int]


class ShardEntry(Stored):
    """A tar: its path below the folder, its frames, its bytes and their SHA-256, its first and last key."""

    file: str
    count: int
    size: int
    sha256: str
    first: str
    last: str


class LabelManifest(Stored):
    """A finished job.

    Args:
        job: What was labelled, and how.
        classes: What the ids of the masks mean.
        ignore_index: The id that no class has.
        frames: Masks in all shards.
        mask_bytes: Bytes of the masks' PNGs together.
        shards: In the order of their names.
        failed: What could not be labelled.
        videos: How each video ended; one whose container promised more frames than came may be damaged.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    job: Job
    classes: tuple[ClassEntry, ...]
    ignore_index: int
    frames: int
    mask_bytes: int
    shards: tuple[ShardEntry, ...]
    failed: tuple[Failure, ...]
    videos: tuple[VideoEnd, ...]


def make_manifest(job: Job, labels: LabelSet, units: Sequence[Unit], folder: Path) -> LabelManifest:
    """Of the records of all units.

    Raises:
        DataError: One is missing or damaged: not all units were labelled.
    """
    records = [record for unit in units for record in _records(folder, unit)]
    return LabelManifest(
        job=job,
        classes=tuple(ClassEntry(id=c.id, name=c.name, color=c.color) for c in labels.classes),
        ignore_index=labels.ignore_index,
        frames=sum(record.count for record in records),
        mask_bytes=sum(record.mask_bytes for record in records),
        shards=tuple(_entry(record) for record in records if record.count),
        failed=tuple(failure for record in records for failure in record.failed),
        videos=tuple(record.video_end for record in records if record.video_end),
    )


def check_shards(manifest: LabelManifest, folder: Path) -> Iterator[str | None]:
    """Read every byte of a finished job: for each shard what is wrong with it, or ``None``.

    Wrong is a shard that is missing, has other bytes or another count of frames than were written, holds a
    frame of another shard or of another bundle, or a mask that does not decode; and a tar that the manifest
    does not name.
    """
    seen: set[str] = set()
    for entry in manifest.shards:
        yield _fault(entry, folder, manifest.job.bundle_digest, seen)
    named = {entry.file for entry in manifest.shards}
    for path in sorted((folder / SHARDS).glob("*.tar")):
        if f"{SHARDS}/{path.name}" not in named:
            yield f"{SHARDS}/{path.name} is not in {MANIFEST_FILE}"


def _records(folder: Path, unit: Unit) -> Iterator[Record]:
    number, ended = 0, False
    while not ended:
        record = Record.read(record_path(folder, shard_name(unit.index, number)))
        yield record
        number, ended = number + 1, record.last_of_unit


def _entry(record: Record) -> ShardEntry:
    return ShardEntry(
        file=f"{SHARDS}/{record.name}.tar",
        count=record.count,
        size=record.size,
        sha256=record.sha256,
        first=record.first or "",
        last=record.last or "",
    )


def _fault(entry: ShardEntry, folder: Path, bundle_digest: str, seen: set[str]) -> str | None:
    path = folder / entry.file
    if not path.is_file():
        return f"{entry.file} is missing"
    if sha256_of(path) != entry.sha256:
        return f"{entry.file} has other bytes than were written"
    try:
        frames = [(frame.key, frame.values["bundle"]) for frame in read_shard(path)]
    except DataError as error:
        return str(error)
    keys = [key for key, _ in frames]
    if (len(keys), keys[0], keys[-1]) != (entry.count, entry.first, entry.last):
        return f"{entry.file} holds {len(keys)} frames, {keys[0]} to {keys[-1]}, not those of {MANIFEST_FILE}"
    if {bundle for _, bundle in frames} != {bundle_digest}:
        return f"{entry.file} was made by another bundle"
    twice = next((key for key, count in Counter(keys).items() if count > 1 or key in seen), None)
    seen.update(keys)
    return f"{entry.file} holds {twice} again" if twice else None
