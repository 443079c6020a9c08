"""Labels units; the same in this process and in an actor of a cluster."""

from __future__ import annotations

import os
import tarfile
import time
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2

from edgeseg.atomic import StagedFile, write_text, writing
from edgeseg.bundle import Bundle
from edgeseg.errors import DataError, InferenceError
from edgeseg.labelling.frames import SHARED, Frames, Unreadable, not_there, open_frames
from edgeseg.labelling.job import JOB_FILE, Job
from edgeseg.labelling.shards import (
    Failure,
    Record,
    ShardWriter,
    VideoEnd,
    attempts_path,
    finished,
    record_path,
    sha256_of,
    shard_name,
    tar_path,
)
from edgeseg.labelling.sources import Unit
from edgeseg.segmenter import Segmenter, load

_MOST_ATTEMPTS = 6


@dataclass(frozen=True)
class Place:
    """Where a job reads and writes; every machine has to see both folders under these paths.

    Args:
        sources: The folder that the names of the sources start from.
        folder: Where the shards go.
    """

    sources: Path
    folder: Path


@dataclass(frozen=True)
class UnitResult:
    """What became of a unit.

    Args:
        index: The unit's.
        labelled: Frames that were labelled now.
        found: Frames in shards that were finished before.
        failed: Entries of what could not be labelled.
        worker: Who did it, as ``HOST/PID``.
        started, ended: Seconds since 1970.
    """

    index: int
    labelled: int
    found: int
    failed: int
    worker: str
    started: float
    ended: float


class Labeller:
    """One model on one worker. The model is loaded when the first frame needs it.

    Args:
        job: What is labelled, and how.
        place: Where.
        bundle: The checked bundle.
        threads: Of the runtime, of OpenCV and of FFmpeg each.
    """

    def __init__(self, job: Job, place: Place, bundle: Bundle, threads: int) -> None:
        self._job, self._place, self._bundle, self._threads = job, place, bundle, threads
        os.environ.setdefault("OPENCV_FFMPEG_THREADS", str(threads))
        cv2.setNumThreads(threads)

    def label(self, unit: Unit) -> UnitResult:
        """Write the shards of a unit that are not there and whole already.

        Raises:
            DataError: This machine does not see the job's folders.
            OutputError: A shard cannot be written; none of it is left then.
            BundleError: The model does not load, or gives other masks than at export.
            InferenceError: The runtime failed, or worker after worker died on a shard.
        """
        started = time.time()
        self._check_place(unit)
        new: list[Record] = []
        old: list[Record] = []
        frames = open_frames(self._place.sources, unit, self._job.stride)
        with closing(frames):
            while not any(records and records[-1].last_of_unit for records in (new, old)):
                name = shard_name(unit.index, len(new) + len(old))
                record = finished(self._place.folder, name)
                if record:
                    frames.skip(record.count + len(record.failed))
                    old.append(record)
                else:
                    new.append(self._write(name, unit, frames))
        return UnitResult(
            unit.index,
            sum(record.count for record in new),
            sum(record.count for record in old),
            sum(len(record.failed) for record in (*new, *old)),
            f"{os.uname().nodename}/{os.getpid()}",
            started,
            time.time(),
        )

    def close(self) -> None:
        """Release the model; calling twice is harmless."""
        if segmenter := self.__dict__.pop("_segmenter", None):
            segmenter.close()

    @cached_property
    def _segmenter(self) -> Segmenter:
        return load(
            self._bundle,
            runtime=self._job.runtime,
            precision=self._job.precision,
            threads=self._threads,
            isolate=True,
        )

    def _check_place(self, unit: Unit) -> None:
        """A machine that sees other folders would call every source broken, or write where nobody looks."""
        for path, seen in (
            (self._place.sources, self._place.sources.is_dir()),
            (self._place.folder, self._sees_job()),
        ):
            if not seen:
                raise DataError(
                    path,
                    expected=f"the folder of the job, on {os.uname().nodename} too",
                    found="another one or none",
                    next_step=SHARED,
                )
        # An unmounted folder is there, and empty.
        for name in unit.names:
            try:
                (self._place.sources / name).stat()
            except OSError as error:
                raise not_there(self._place.sources / name, error) from error

    def _sees_job(self) -> bool:
        try:
            return Job.read(self._place.folder / JOB_FILE) == self._job
        except DataError:
            return False

    def _write(self, name: str, unit: Unit, frames: Frames) -> Record:
        """The next frames, up to a shard's, as tar and record."""
        attempts = attempts_path(self._place.folder, name)
        _count_attempt(attempts, unit)
        path = tar_path(self._place.folder, name)
        staged = StagedFile(path)
        try:
            with writing(path), tarfile.open(staged.path, "w") as tar:
                writer = ShardWriter(tar, self._job.bundle_digest, with_frames=self._job.with_frames)
                failed = self._fill(writer, frames)
            last = unit.kind == "images" or writer.count + len(failed) < self._job.shard_size
            record = Record(
                name=name,
                count=writer.count,
                **_tar_facts(staged.path, writer) if writer.count else {},
                failed=tuple(failed),
                last_of_unit=last,
                video_end=_video_end(unit, frames) if last else None,
            )
            if writer.count:
                staged.commit()
            record.write(record_path(self._place.folder, name))
        finally:
            # Whoever comes here is alive.
            staged.discard()
            attempts.unlink(missing_ok=True)
        return record

    def _fill(self, writer: ShardWriter, frames: Frames) -> list[Failure]:
        failed: list[Failure] = []
        while writer.count + len(failed) < self._job.shard_size and (frame := frames.read()):
            if isinstance(frame, Unreadable):
                failed.append(Failure(source=frame.source, frame=frame.frame, reason=frame.reason))
            else:
                writer.add(self._segmenter(frame.image), frame.source, frame.frame)
        return failed


def _count_attempt(path: Path, unit: Unit) -> None:
    """A cluster gives a unit again while its workers die, and a file that kills the decoder kills all."""
    before = int(path.read_text() or 0) if path.exists() else 0
    if before >= _MOST_ATTEMPTS:
        raise InferenceError(
            path.with_suffix("").name.removeprefix("."),
            expected="a worker that lives until it is written",
            found=f"{before} that died, labelling {unit.names[0]}"
            + (f" and what follows it up to {unit.names[-1]}" if len(unit.names) > 1 else ""),
            next_step="See in the system's log why they died (memory, or a file that crashes the decoder), "
            "and give the same command again: it goes on.",
        )
    write_text(path, str(before + 1))


def _tar_facts(path: Path, writer: ShardWriter) -> dict[str, Any]:
    return {
        "size": path.stat().st_size,
        "sha256": sha256_of(path),
        "mask_bytes": writer.mask_bytes,
        "first": writer.first,
        "last": writer.last,
    }


def _video_end(unit: Unit, frames: Frames) -> VideoEnd | None:
    if unit.kind == "images":
        return None
    return VideoEnd(source=unit.names[0], announced=frames.announced, decoded=frames.seen)
