"""A benchmark's result as Markdown, for a README, an issue or ``benchmarks/results/``."""

from __future__ import annotations

from edgeseg.benchmarks.protocol import STAGES
from edgeseg.benchmarks.results import BenchmarkResult, ModelResult
from edgeseg.benchmarks.sensors.markdown import sensors_markdown
from edgeseg.benchmarks.sustained_markdown import sustained_markdown
from edgeseg.tables import markdown_table, points

LATENCY_HEADER = (
    "model",
    "runtime",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "max",
    "jitter",
    "memory MiB",
    "cold start ms",
    "mIoU",
)


_MOST_NAMES = 4
CONFIDENCE_HEADER = ("model", "p50", "p90", "p99", "p99.9", "medians of rounds", "warm-up frames")
STREAM_HEADER = ("model", "age p50", "p99", "p99.9", "max", "frames", "dropped", "late", "missed")


def to_markdown(result: BenchmarkResult) -> str:
    """The whole result; everything a reader needs to repeat it, and what was not measured."""
    return "\n\n".join([f"# Benchmark of {names(result)}", *care(result), *sections(result)]) + "\n"


def sections(result: BenchmarkResult) -> list[str]:
    """What comes after the title and the cautions."""
    found = [
        f"`{result.command}`\n\n" + conditions(result),
        "## Whole path, ms per frame\n\n" + markdown_table(LATENCY_HEADER, latency_rows(result)),
        "## How sure the whole path is\n\n" + markdown_table(CONFIDENCE_HEADER, confidence_rows(result)),
        *_streams(result),
        "## Stages, ms per frame\n\n" + markdown_table(*_stages(result)),
        "## Cold start, ms\n\n" + markdown_table(*_cold_starts(result)),
    ]
    if any(model.accuracy for model in result.models):
        found.append("## IoU per class, points, label resolution\n\n" + markdown_table(*_classes(result)))
    if sensed := sensors_markdown(result.sensed):
        found.append(sensed)
    if result.sustained:
        found.append(sustained_markdown(result.sustained))
    absent = "\n".join(f"- {what}: {text}" for what, text in result.not_measured.items())
    return [*found, "## Not measured\n\n" + absent]


def names(result: BenchmarkResult) -> str:
    """For a title: of its models, or how many they are."""
    found = [model.subject.name for model in result.models]
    return ", ".join(found) if len(found) <= _MOST_NAMES else f"{len(found)} models"


def care(result: BenchmarkResult) -> list[str]:
    """What makes the numbers less than they seem, which comes before the numbers; nothing where none does."""
    marks = "\n".join(f"- {caution}" for caution in result.cautions)
    return ["**Read these numbers with care.**\n\n" + marks] if marks else []


def _streams(result: BenchmarkResult) -> list[str]:
    rows = stream_rows(result)
    if not rows:
        return []
    stream = next(model.latency.stream for model in result.models if model.latency.stream)
    text = (
        f"Frames arrive {stream.fps:g} times a second, whether or not the one before is done; of those that "
        f"wait the newest wins. Age is from arrival to mask; past {stream.deadline_ms:.1f} ms it is late."
    )
    return [f"## At a camera's rate\n\n{text}\n\n" + markdown_table(STREAM_HEADER, rows)]


def stream_rows(result: BenchmarkResult) -> list[list[str]]:
    """One row per model that ran at a camera's rate, for ``STREAM_HEADER``."""
    return [
        [
            model.subject.name,
            *(f"{value:.2f}" for value in (s.age.p50, s.age.p99, s.age.p999, s.age.max)),
            str(s.frames),
            str(s.dropped),
            str(s.late),
            f"{100 * s.missed:.2f} %",
        ]
        for model in result.models
        if (s := model.latency.stream)
    ]


def confidence_rows(result: BenchmarkResult) -> list[list[str]]:
    """One row per model, for ``CONFIDENCE_HEADER``."""
    return [[model.subject.name, *_confidence(model), *_warmup(model)] for model in result.models]


def _confidence(model: ModelResult) -> list[str]:
    known = model.latency.intervals
    cells = []
    for name in ("p50", "p90", "p99", "p999"):
        cells.append("{:.2f} to {:.2f}".format(*known[name]) if name in known else "one round only")
    return cells


def _warmup(model: ModelResult) -> list[str]:
    warmed_up, medians = model.latency.warmed_up, model.latency.round_p50
    return [
        f"{min(medians):.2f} to {max(medians):.2f}",
        f"{warmed_up.frames}{'' if warmed_up.stable else ', not still'}",
    ]


def latency_rows(result: BenchmarkResult) -> list[list[str]]:
    """One row per model, for ``LATENCY_HEADER``."""
    return [_latency_row(model) for model in result.models]


def conditions(result: BenchmarkResult) -> str:
    """Under what the numbers were measured, as two paragraphs."""
    host, frames, options = result.host, result.frames, result.options
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    # A round has a frame at least.
    rounds = min(options["rounds"], options["frames"])
    few = " Fewer than 1,000 frames: p99.9 is the maximum." if options["frames"] < 1000 else ""
    return (
        f"{result.created}. {host.cpu}, {host.cores} cores, {host.memory_gib} GiB; {host.system}; "
        f"Python {host.python}, {versions}. Frequency governor {host.governor}; load average before the "
        f"start {host.load}.{_meanwhile(result)}\n\n"
        f"{options['frames']} frames per model in {rounds} rounds that take turns, "
        f"at least {options['warmup']} warm-up frames, {_threads(result)} threads, a process for each. "
        f"Frames: {frames['distinct_frames']} JPEGs of {frames['size']} ({frames['origin']}). The whole path "
        "is decode, resize, infer and post (the class map back at the frame's size). Percentiles are times "
        "of measured frames (nearest rank), their intervals 95 % confidence by drawing rounds again."
        f"{few} Jitter is the mean absolute difference between one frame and the next; memory is the "
        f"process's own peak; cold start is the median of {options['cold_starts']}, with the files in the "
        f"system's cache.{_scored_on(result)}"
    )


def _threads(result: BenchmarkResult) -> str:
    return ", ".join(map(str, dict.fromkeys(model.latency.loaded.threads for model in result.models)))


def _scored_on(result: BenchmarkResult) -> str:
    accuracy = next((model.accuracy for model in result.models if model.accuracy), None)
    return f" mIoU in points, label resolution, {accuracy.scored_on}." if accuracy else ""


def _meanwhile(result: BenchmarkResult) -> str:
    seen = result.conditions
    if seen is None or seen.others is None or seen.stolen is None:
        return ""
    others, stolen = f"{100 * seen.others:.1f} %", f"{100 * seen.stolen:.1f} %"
    return f" Meanwhile other processes took {others} of the processors, other virtual machines {stolen}."


def _latency_row(model: ModelResult) -> list[str]:
    latency, loaded = model.latency, model.latency.loaded
    t = latency.total
    times = [f"{value:.2f}" for value in (t.p50, t.p90, t.p99, t.p999, t.max, t.jitter)]
    return [
        model.subject.name,
        str(loaded),
        *times,
        f"{latency.memory.peak_mib:.0f}",
        f"{latency.cold_start.total:.0f}",
        points(model.accuracy.miou) if model.accuracy else "not measured",
    ]


def _stages(result: BenchmarkResult) -> tuple[list[str], list[list[str]]]:
    rows = []
    for model in result.models:
        for stage in STAGES:
            s = model.latency.stages[stage]
            values = (s.mean, s.p50, s.p90, s.p99, s.p999, s.max, s.jitter)
            rows.append([f"{model.subject.name}: {stage}", *(f"{value:.2f}" for value in values)])
    return ["model: stage", "mean", "p50", "p90", "p99", "p99.9", "max", "jitter"], rows


def _cold_starts(result: BenchmarkResult) -> tuple[list[str], list[list[str]]]:
    rows = [
        [model.subject.name, *(f"{value:.0f}" for value in model.latency.cold_start.to_dict().values())]
        for model in result.models
    ]
    return ["model", "process", "imports", "load", "first mask", "total"], rows


def _classes(result: BenchmarkResult) -> tuple[list[str], list[list[str]]]:
    scored = [(b.subject.name, b.accuracy) for b in result.models if b.accuracy]
    names = scored[0][1].labels.names
    rows = [
        [name, points(a.miou), *(points(float(iou)) for iou in a.evaluation.label_scores.iou)]
        for name, a in scored
    ]
    return ["model", "mIoU", *names], rows
