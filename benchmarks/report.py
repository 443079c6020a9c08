"""One HTML page of what was trained, exported, measured and run. It needs no network and no other file.

Styles and pictures are inside the page; only a video is linked, beside it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from edgeseg.atomic import write_text
from edgeseg.benchmarks.markdown import conditions
from edgeseg.benchmarks.results import NOT_MEASURED_HERE, BenchmarkResult
from edgeseg.errors import DataError, MissingExtraError
from edgeseg.resize import Image
from edgeseg.tables import points

if TYPE_CHECKING:
    from edgeseg.loop.report import LoopReport

_TEMPLATES = Path(__file__).parent / "templates"
_MIME = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".svg": "image/svg+xml"}


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
        counts, age = report.counts, report.age
        return cls(
            name=name,
            seconds=report.seconds,
            captured=counts.captured,
            masks=counts.segmented,
            dropped=counts.skipped + counts.overwritten + counts.stale,
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
    plots: tuple[Picture, ...] = ()
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
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError.of("writing a report", "jinja2", "benchmark") from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": points, "embed": _embed, "decimals": _decimals}
    page = environment.get_template("report.html.j2").render(
        report=report,
        video=os.path.relpath(report.video, path.parent) if report.video else None,
        class_names=list(report.scores[0].class_iou) if report.scores else [],
        conditions=conditions(report.benchmark).split("\n\n") if report.benchmark else [],
        slowest=max((b.latency.total.mean for b in report.benchmark.bundles), default=0.0)
        if report.benchmark
        else 0.0,
        environment={**report.environment, **_host(report.benchmark)},
        not_measured={**(NOT_MEASURED_HERE if report.benchmark else {}), **report.not_measured},
    )
    write_text(path, page)


def benchmark_report(result: BenchmarkResult, plots: tuple[Picture, ...]) -> Report:
    """The page of a benchmark alone."""
    fastest = min(result.bundles, key=lambda bundle: bundle.latency.total.p50)
    total = fastest.latency.total
    headlines = [
        Headline("Fastest", f"{total.p50:.1f} ms", f"{fastest.subject.name}, p50, whole path"),
        Headline("Its tail", f"{total.p99:.1f} ms", "p99, whole path"),
        Headline("Its memory", f"{fastest.latency.memory.peak_mib:.0f} MiB", "peak of its own process"),
    ]
    scored = [(bundle, bundle.accuracy) for bundle in result.bundles if bundle.accuracy]
    if scored:
        best, accuracy = max(scored, key=lambda pair: pair[1].miou)
        headlines.append(
            Headline("Best mIoU", points(accuracy.miou), f"{best.subject.name}, {accuracy.split} split")
        )
    scores = tuple(
        ModelScore(
            bundle.subject.name,
            f"{bundle.latency.loaded.runtime} {bundle.latency.loaded.runtime_version}",
            accuracy.miou,
            dict(zip(accuracy.labels.names, accuracy.evaluation.label_scores.iou.tolist(), strict=True)),
            size_mib=bundle.subject.size_mib,
        )
        for bundle, accuracy in scored
    )
    return Report(
        title="edgeseg benchmark",
        lead=", ".join(bundle.subject.name for bundle in result.bundles),
        created=result.created,
        headlines=tuple(headlines),
        scores=scores,
        benchmark=result,
        plots=plots,
        commands=(result.command,),
    )


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


def _embed(picture: Picture) -> str:
    """A ``data:`` address of a picture."""
    if isinstance(picture.image, Path):
        mime, data = _mime(picture.image), _bytes(picture.image)
    else:
        bgr = cv2.cvtColor(picture.image, cv2.COLOR_RGB2BGR)
        mime, data = "image/jpeg", bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])
    return f"data:{mime};base64,{base64.b64encode(data).decode('ascii')}"


def _mime(path: Path) -> str:
    if path.suffix.lower() not in _MIME:
        raise DataError(
            path,
            expected=f"a picture, {', '.join(sorted(_MIME))}",
            found=path.suffix or "no suffix",
            next_step="Give the report a picture.",
        )
    return _MIME[path.suffix.lower()]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            path, expected="a picture for the report", found=str(error.strerror), next_step="Make it first."
        ) from error


def _decimals(value: Any, places: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{places}f}"
