"""A job from its plan to its manifest. Given again, it goes on where it was cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import edgeseg
from edgeseg.atomic import check_writable
from edgeseg.bundle import Bundle
from edgeseg.labelling.job import Job, begin, sources_digest
from edgeseg.labelling.labeller import Labeller, Place, UnitResult
from edgeseg.labelling.manifest import MANIFEST_FILE, LabelManifest, make_manifest
from edgeseg.labelling.shards import SHARDS
from edgeseg.labelling.sources import Unit, find_sources, make_units
from edgeseg.lock import alone
from edgeseg.runtimes.choice import choose_model

SHARD_SIZE = 1000
"""Frames in a shard: some 10 MB of masks, and what a worker that dies loses at most."""


@dataclass(frozen=True)
class Plan:
    """All that workers need, and what they have to do.

    Args:
        job: What is labelled, and how.
        place: From where to where.
        bundle: The checked bundle.
        units: The work. It is the same for the same sources, in the same order.
    """

    job: Job
    place: Place
    bundle: Bundle
    units: tuple[Unit, ...]


Workers = Callable[[Plan, Sequence[Unit]], Iterator[UnitResult]]
"""Labels units, in any order, and gives what became of each; :func:`in_one_process` or ``cluster.on_ray``."""


@dataclass(frozen=True)
class Outcome:
    """A finished job.

    Args:
        manifest: What was written.
        results: Of each unit.
        seconds: From the first worker's start to the manifest, the start of a cluster's actors included.
    """

    manifest: LabelManifest
    results: tuple[UnitResult, ...]
    seconds: float

    @property
    def labelled(self) -> int:
        """Frames that were labelled now and not before."""
        return sum(result.labelled for result in self.results)

    @property
    def working_seconds(self) -> float:
        """From the first unit's start to the last one's end: without the start of the workers."""
        return max(r.ended for r in self.results) - min(r.started for r in self.results)


def make_plan(
    bundle: Bundle,
    source: Path,
    folder: Path,
    *,
    runtime: str | None = None,
    precision: str | None = None,
    shard_size: int = SHARD_SIZE,
    stride: int = 1,
    with_frames: bool = False,
) -> Plan:
    """Find the sources and settle which frame lies in which shard. Nothing is written.

    Args:
        bundle: A checked bundle.
        source: A folder, searched with all below it, an image or a video.
        folder: Where the shards shall go.
        runtime, precision: As for :func:`edgeseg.load`; what is chosen here runs on every worker.
        shard_size: Frames in a shard.
        stride: Of a video, take each so-many-th frame.
        with_frames: Keep each frame beside its mask.

    Raises:
        SourceError: There are no images or videos.
        UsageError: The bundle has no such runtime or precision.
        RuntimeUnavailableError: None of the bundle's runtimes is installed.
    """
    factory, model = choose_model(bundle, runtime, precision)
    root, files = find_sources(source)
    job = Job(
        edgeseg=edgeseg.__version__,
        bundle=bundle.manifest.name,
        bundle_digest=bundle.digest,
        runtime=factory.name,
        precision=model.precision,
        sources_digest=sources_digest(files),
        sources=len(files),
        shard_size=shard_size,
        stride=stride,
        with_frames=with_frames,
    )
    place = Place(root.resolve(), folder.resolve())
    return Plan(job, place, bundle, tuple(make_units(files, shard_size)))


def label(plan: Plan, workers: Workers, progress: Callable[[int, int], None] | None = None) -> Outcome:
    """Label what is not labelled yet, and write the manifest.

    Args:
        plan: Of :func:`make_plan`.
        workers: Who labels.
        progress: Called with finished and all units.

    Raises:
        UsageError: Another job's masks are in the folder, or another process works on this one.
        OutputError: It cannot be written.
        BundleError, InferenceError: The model does not load or run.
        DataError: A machine of a cluster does not see the folders.
    """
    folder = plan.place.folder
    check_writable(folder)
    begin(plan.job, folder)
    with alone(folder, "a job"):
        return _label(plan, workers, progress)


def _label(plan: Plan, workers: Workers, progress: Callable[[int, int], None] | None) -> Outcome:
    folder = plan.place.folder
    _forget_attempts(folder)
    started = time.monotonic()
    results = []
    # Longest first: the last to end should be short.
    for result in workers(plan, sorted(plan.units, key=lambda unit: (-unit.size, unit.index))):
        results.append(result)
        if progress:
            progress(len(results), len(plan.units))
    _clear_leftovers(folder)
    manifest = make_manifest(plan.job, plan.bundle.labels, plan.units, folder)
    manifest.write(folder / MANIFEST_FILE)
    return Outcome(manifest, tuple(results), time.monotonic() - started)


def in_one_process(threads: int) -> Workers:
    """Label in this process, with so many threads."""

    def work(plan: Plan, units: Sequence[Unit]) -> Iterator[UnitResult]:
        with closing(Labeller(plan.job, plan.place, plan.bundle, threads)) as labeller:
            yield from map(labeller.label, units)

    return work


def _forget_attempts(folder: Path) -> None:
    """Of a command before this one, after which somebody may have mended what killed its workers."""
    for path in (folder / SHARDS).glob(".labels-*.attempts"):
        path.unlink(missing_ok=True)


def _clear_leftovers(folder: Path) -> None:
    """What killed workers had begun, of this command or one before it: all shards are whole now.

    One that still writes has a driver that was killed, and fails where nobody listens.
    """
    # Counts of attempts begin with a dot themselves.
    for leftover in (folder / SHARDS).glob(".*labels-*.part.*"):
        leftover.unlink(missing_ok=True)
