"""One HTML page of what was trained, exported, measured and run. It needs no network and no other file.

Styles and pictures are inside the page; only a video is linked, beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.benchmarks.markdown import (
    CONFIDENCE_HEADER,
    STREAM_HEADER,
    conditions,
    confidence_rows,
    stream_rows,
)
from edgeseg.benchmarks.pages import write_page
from edgeseg.benchmarks.peers import HEADER as PEERS_HEADER
from edgeseg.benchmarks.peers import Peers
from edgeseg.benchmarks.results import BenchmarkResult
from edgeseg.benchmarks.sensors.markdown import HEADER as SENSORS_HEADER
from edgeseg.benchmarks.sensors.markdown import sensor_rows
from edgeseg.benchmarks.sustained_markdown import HEADER as SUSTAINED_HEADER
from edgeseg.benchmarks.sustained_markdown import sustained_rows
from edgeseg.resize import Image
from edgeseg.tables import points

if TYPE_CHECKING:
    from edgeseg.loop.report import LoopReport


@dataclass(frozen=True)
class Headline:
    """One of the numbers at the top: ``value`` large, ``label`` above it, ``note`` below."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A picture file, or pixels ``uint8 [H, W, 3]`` RGB, with what is to be seen in it."""

    image: Path | Image
    caption: str


@dataclass(frozen=True)
class ModelScore:
    """One row of the accuracy table. Shares are from 0 to 1; ``None`` where there is none.

    Args:
        name: The model or artifact, for instance ``LiteRT int8``.
        runtime: What ran it, for instance ``litert 2.3.0``.
        miou: Its mIoU at label resolution.
        class_iou: IoU per class name; ``None`` for a class absent from truth and prediction.
        drop_points: Points of mIoU lost beside the Keras model; negative where it is better.
        agreement: Share of pixels with the Keras model's class, at model resolution.
        size_mib: Size of the model file.
    """

    name: str
    runtime: str
    miou: float
    class_iou: Mapping[str, float | None]
    drop_points: float | None = None
    agreement: float | None = None
    size_mib: float | None = None


@dataclass(frozen=True)
class LoopFacts:
    """One run of the camera loop; ages are milliseconds from capture to publication.

    ``overdue_ms``: by how much the oldest mask exceeded two frame periods and its own inference; 0 or less
    means that none did, and ``None`` that frames were queued on purpose.
    """

    name: str
    seconds: float
    captured: int
    masks: int
    dropped: int
    fps: float
    age_p50_ms: float
    age_p99_ms: float
    age_max_ms: float
    overdue_ms: float | None

    @classmethod
    def of(cls, name: str, report: LoopReport) -> LoopFacts:
        """What the page shows of a loop's report; ``name`` says how it was run."""
        ledger, age = report.ledger, report.age
        return cls(
            name=name,
            seconds=report.seconds,
            captured=ledger.captured,
            masks=ledger.inferred,
            dropped=ledger.dropped,
            fps=report.fps,
            age_p50_ms=age.p50,
            age_p99_ms=age.p99,
            age_max_ms=age.max,
            overdue_ms=report.max_overdue_ms,
        )


@dataclass(frozen=True)
class Report:
    """What goes on the page, top to bottom; a part that is empty is left out with its heading.

    Args:
        load: Curves of minutes of load, shown with the benchmark's table of them.
        environment: What it ran on, name to value; the benchmark's host is added by itself.
        not_measured: What a reader could miss, name to the reason; the benchmark's own are added.
        commands: The commands that made all this, or to try next.
    """

    title: str
    lead: str
    created: str
    headlines: tuple[Headline, ...] = ()
    training: tuple[Picture, ...] = ()
    predictions: tuple[Picture, ...] = ()
    confusion: Picture | None = None
    scores: tuple[ModelScore, ...] = ()
    benchmark: BenchmarkResult | None = None
    peers: Peers | None = None
    plots: tuple[Picture, ...] = ()
    load: tuple[Picture, ...] = ()
    loops: tuple[LoopFacts, ...] = ()
    overlays: tuple[Picture, ...] = ()
    video: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    not_measured: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()


def write_report(path: Path, report: Report) -> None:
    """Write the page; the file appears whole or not at all.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        DataError: A picture is not there, or is of no known kind.
    """
    write_page(
        path,
        "report.html.j2",
        report=report,
        peers_header=PEERS_HEADER,
        video=os.path.relpath(report.video, path.parent) if report.video else None,
        class_names=list(report.scores[0].class_iou) if report.scores else [],
        confidence=(CONFIDENCE_HEADER, confidence_rows(report.benchmark)) if report.benchmark else (),
        sensed=_sensed(report.benchmark),
        sustained=_sustained(report.benchmark),
        streams=(STREAM_HEADER, stream_rows(report.benchmark)) if report.benchmark else (),
        conditions=conditions(report.benchmark).split("\n\n") if report.benchmark else [],
        slowest=max((b.latency.total.mean for b in report.benchmark.models), default=0.0)
        if report.benchmark
        else 0.0,
        environment={**report.environment, **_host(report.benchmark)},
        not_measured={**(report.benchmark.not_measured if report.benchmark else {}), **report.not_measured},
    )


def benchmark_report(
    result: BenchmarkResult, plots: tuple[Picture, ...], load: tuple[Picture, ...] = ()
) -> Report:
    """The page of a benchmark alone."""
    fastest = min(result.models, key=lambda model: model.latency.total.p50)
    total = fastest.latency.total
    headlines = [
        Headline("Fastest", f"{total.p50:.1f} ms", f"{fastest.subject.name}, p50, whole path"),
        Headline("Its tail", f"{total.p99:.1f} ms", "p99, whole path"),
        Headline("Its memory", f"{fastest.latency.memory.peak_mib:.0f} MiB", "peak of its own process"),
    ]
    scored = [(model, model.accuracy) for model in result.models if model.accuracy]
    if scored:
        best, accuracy = max(scored, key=lambda pair: pair[1].miou)
        headlines.append(
            Headline("Best mIoU", points(accuracy.miou), f"{best.subject.name}, {accuracy.scored_on}")
        )
    scores = tuple(
        ModelScore(
            model.subject.name,
            f"{model.latency.loaded.runtime} {model.latency.loaded.runtime_version}",
            accuracy.miou,
            dict(zip(accuracy.labels.names, accuracy.evaluation.label_scores.iou.tolist(), strict=True)),
            size_mib=model.subject.size_mib,
        )
        for model, accuracy in scored
    )
    return Report(
        title="edgeseg benchmark",
        lead=", ".join(model.subject.name for model in result.models),
        created=result.created,
        headlines=tuple(headlines),
        scores=scores,
        benchmark=result,
        plots=plots,
        load=load,
        commands=(result.command,),
    )


def _sensed(result: BenchmarkResult | None) -> tuple[Any, ...]:
    return (SENSORS_HEADER, sensor_rows(result.sensed)) if result and result.sensed else ()


def _sustained(result: BenchmarkResult | None) -> tuple[Any, ...]:
    return (SUSTAINED_HEADER, sustained_rows(result.sustained)) if result and result.sustained else ()


def _host(result: BenchmarkResult | None) -> dict[str, str]:
    if not result:
        return {}
    host = result.host
    return {
        "CPU": f"{host.cpu}, {host.cores} cores ({host.machine})",
        "Memory": f"{host.memory_gib} GiB",
        "System": host.system,
        "Python": host.python,
        **host.versions,
    }
