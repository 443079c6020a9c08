"""A benchmark's result as Markdown, for a README, an issue or ``benchmarks/results/``."""

from __future__ import annotations

from edgeseg.benchmarks.protocol import STAGES
from edgeseg.benchmarks.results import NOT_MEASURED_HERE, BenchmarkResult, BundleResult
from edgeseg.tables import markdown_table, points

LATENCY_HEADER = (
    "bundle",
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


def to_markdown(result: BenchmarkResult) -> str:
    """The whole result; everything a reader needs to repeat it, and what was not measured."""
    sections = [
        "# Benchmark of " + ", ".join(bundle.subject.name for bundle in result.bundles),
        f"`{result.command}`\n\n" + conditions(result),
        "## Whole path, ms per frame\n\n" + markdown_table(LATENCY_HEADER, latency_rows(result)),
        "## Stages, ms per frame\n\n" + markdown_table(*_stages(result)),
        "## Cold start, ms\n\n" + markdown_table(*_cold_starts(result)),
    ]
    if all(bundle.accuracy for bundle in result.bundles):
        sections.append("## IoU per class, points, label resolution\n\n" + markdown_table(*_classes(result)))
    absent = "\n".join(f"- {what}: {text}" for what, text in NOT_MEASURED_HERE.items())
    sections.append("## Not measured\n\n" + absent)
    return "\n\n".join(sections) + "\n"


def latency_rows(result: BenchmarkResult) -> list[list[str]]:
    """One row per bundle, for ``LATENCY_HEADER``."""
    return [_latency_row(bundle) for bundle in result.bundles]


def conditions(result: BenchmarkResult) -> str:
    """Under what the numbers were measured, as two paragraphs."""
    host, frames, options = result.host, result.frames, result.options
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    note = " The machine was busy: the tails are not the models' alone." if host.busy else ""
    few = " Fewer than 1,000 frames: p99.9 is the maximum." if options["frames"] < 1000 else ""
    return (
        f"{result.created}. {host.cpu}, {host.cores} cores, {host.memory_gib} GiB; {host.system}; "
        f"Python {host.python}, {versions}. Frequency governor {host.governor}; load average before the "
        f"start {host.load}.{note}\n\n"
        f"{options['frames']} frames per bundle in {options['rounds']} rounds that take turns, "
        f"{options['warmup']} warm-up frames, {options['threads']} threads, a process for each bundle. "
        f"Frames: {frames['distinct_frames']} JPEGs of {frames['size']} ({frames['origin']}). The whole path "
        "is decode, resize, infer and post (the class map back at the frame's size). Percentiles are times "
        f"of measured frames (nearest rank).{few} Jitter is the mean absolute difference between one frame "
        "and the next; memory is the process's own peak; cold start is the median of "
        f"{options['cold_starts']}, with the files in the system's cache."
    )


def _latency_row(bundle: BundleResult) -> list[str]:
    latency, loaded = bundle.latency, bundle.latency.loaded
    t = latency.total
    times = [f"{value:.2f}" for value in (t.p50, t.p90, t.p99, t.p999, t.max, t.jitter)]
    return [
        bundle.subject.name,
        str(loaded),
        *times,
        f"{latency.memory.peak_mib:.0f}",
        f"{latency.cold_start.total:.0f}",
        points(bundle.accuracy.miou) if bundle.accuracy else "not measured",
    ]


def _stages(result: BenchmarkResult) -> tuple[list[str], list[list[str]]]:
    rows = []
    for bundle in result.bundles:
        for stage in STAGES:
            s = bundle.latency.stages[stage]
            values = (s.mean, s.p50, s.p90, s.p99, s.p999, s.max, s.jitter)
            rows.append([f"{bundle.subject.name}: {stage}", *(f"{value:.2f}" for value in values)])
    return ["bundle: stage", "mean", "p50", "p90", "p99", "p99.9", "max", "jitter"], rows


def _cold_starts(result: BenchmarkResult) -> tuple[list[str], list[list[str]]]:
    rows = [
        [bundle.subject.name, *(f"{value:.0f}" for value in bundle.latency.cold_start.to_dict().values())]
        for bundle in result.bundles
    ]
    return ["bundle", "process", "imports", "load", "first mask", "total"], rows


def _classes(result: BenchmarkResult) -> tuple[list[str], list[list[str]]]:
    scored = [(b.subject.name, b.accuracy) for b in result.bundles if b.accuracy]
    names = scored[0][1].labels.names
    rows = [
        [name, points(a.miou), *(points(float(iou)) for iou in a.evaluation.label_scores.iou)]
        for name, a in scored
    ]
    return ["bundle", "mIoU", *names], rows
