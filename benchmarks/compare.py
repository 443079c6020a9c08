"""A benchmark beside an older one of the same models on the same machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.results import BenchmarkResult, ModelResult
from edgeseg.benchmarks.schema import BenchmarkDocument, HostDocument, ModelDocument, parse_document
from edgeseg.errors import DataError, LatencyGateError, UsageError
from edgeseg.tables import points

HEADER = ("model", "p50 then", "now", "change", "p99 then", "now", "change", "mIoU then", "now")
_COMPARED = ("p50", "p99")


@dataclass(frozen=True)
class Change:
    """One model then and now; ``slower`` names the percentiles that went past the tolerance."""

    old: ModelDocument
    new: ModelResult
    slower: tuple[str, ...]

    def row(self) -> list[str]:
        """For ``HEADER``."""
        cells = [self.new.subject.name]
        for name in _COMPARED:
            then, now = self.old.stages_ms["total"].percentile(name), getattr(self.new.latency.total, name)
            cells += [f"{then:.2f}", f"{now:.2f}", f"{100 * (now / then - 1):+.1f} %"]
        return [*cells, points(self.old.miou), points(self.new.accuracy.miou if self.new.accuracy else None)]


def read_old(path: Path) -> BenchmarkDocument:
    """An older ``benchmark.json``.

    Raises:
        UsageError: There is none.
        DataError: It is no such document, or of a run that was not finished.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            "--compare",
            expected="the benchmark.json of an older run",
            found=f"{path}: {error.strerror}",
            next_step="Name the file; every benchmark's folder has one.",
        ) from error
    except ValueError as error:
        raise DataError(
            path, expected="JSON", found=str(error), next_step="Name the benchmark.json of an older run."
        ) from error
    document = parse_document(values, str(path))
    if document.state != "complete":
        raise DataError(
            path,
            expected="a run that went to its end",
            found="one that was stopped before, and is marked partial",
            next_step="Run that benchmark again.",
        )
    return document


def require_comparable(
    old: BenchmarkDocument,
    names: Sequence[str],
    host: Host,
    options: dict[str, Any],
    frames: dict[str, Any],
) -> None:
    """Refuse to compare times that differ for another reason than the models.

    Args:
        old: The older run.
        names, host, options, frames: Of the run that is about to start; the names are those of its models.

    Raises:
        UsageError: It was another machine, another number of threads, frames of another size, or none of
            these models.
    """
    then = [model.name for model in old.models]
    if not set(then) & set(names):
        raise UsageError(
            "--compare",
            expected=f"a run of one of: {', '.join(names)}",
            found=f"one of {', '.join(then)}",
            next_step="Name the benchmark.json of an older run of these models.",
        )
    for what, then, now in (
        ("machine", _machine(old.host), _machine(host)),
        ("threads", old.options.get("threads"), options.get("threads")),
        ("frame size", old.frames.get("size"), frames.get("size")),
    ):
        if then != now:
            raise UsageError(
                "--compare",
                expected=f"a run with the same {what} as this one, {now}",
                found=str(then),
                next_step="Run both on one machine with the same options, or leave --compare out.",
            )


def changes(old: BenchmarkDocument, new: BenchmarkResult, tolerance: float) -> list[Change]:
    """Every model that is in both, by its name.

    Args:
        tolerance: Share by which a percentile may have grown, such as 0.05.
    """
    then = {model.name: model for model in old.models}
    return [
        Change(then[model.subject.name], model, _slower(then[model.subject.name], model, tolerance))
        for model in new.models
        if model.subject.name in then
    ]


def check_changes(found: Sequence[Change], tolerance: float) -> None:
    """The gate of ``--compare``.

    Raises:
        LatencyGateError: A model became slower by more than ``tolerance``.
    """
    slower = [
        f"{change.new.subject.name} in {' and '.join(change.slower)}" for change in found if change.slower
    ]
    if slower:
        raise LatencyGateError(
            "--compare",
            expected=f"no model slower than then by more than {100 * tolerance:g} %",
            found="; ".join(slower),
            next_step="Look at the marks of both runs first: on a noisy machine measure again.",
        )


def _machine(host: Host | HostDocument) -> str:
    return f"{host.cpu}, {host.cores} cores, {host.machine}"


def _slower(old: ModelDocument, new: ModelResult, tolerance: float) -> tuple[str, ...]:
    """The percentiles that grew past the tolerance by more than chance: with their whole interval."""
    slower = []
    for name in _COMPARED:
        limit = old.stages_ms["total"].percentile(name) * (1 + tolerance)
        now = getattr(new.latency.total, name)
        low, _high = new.latency.intervals.get(name, (now, now))
        if low > limit:
            slower.append(name)
    return tuple(slower)
