"""A benchmark's folder: ``benchmark.json``, ``benchmark.md``, ``plots`` and ``report.html``."""

from __future__ import annotations

import json
from pathlib import Path

from edgeseg.atomic import write_text
from edgeseg.benchmarks.markdown import to_markdown
from edgeseg.benchmarks.plots import plot_accuracy_latency, plot_latency_stages
from edgeseg.benchmarks.report import Picture, benchmark_report, write_report
from edgeseg.benchmarks.results import BenchmarkResult

ACCURACY_PLOT = "miou-latency.png"
STAGES_PLOT = "latency-stages.png"


def write_numbers(result: BenchmarkResult, folder: Path) -> None:
    """``benchmark.json`` and ``benchmark.md``: all that was measured, and no package needed for it."""
    document = json.dumps(result.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(folder / "benchmark.json", document + "\n")
    write_text(folder / "benchmark.md", to_markdown(result))


def write_pictures(result: BenchmarkResult, folder: Path) -> None:
    """The two plots and ``report.html``.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    plot_accuracy_latency(result, folder / ACCURACY_PLOT)
    plot_latency_stages(result, folder / STAGES_PLOT)
    plot = Picture(folder / ACCURACY_PLOT, "Accuracy against latency: further up and to the left is better.")
    write_report(folder / "report.html", benchmark_report(result, (plot,)))
