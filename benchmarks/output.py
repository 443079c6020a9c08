"""A benchmark's folder: ``benchmark.json``, ``benchmark.md``, ``plots`` and ``report.html``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.markdown import to_markdown
from edgeseg.benchmarks.peers import Peers
from edgeseg.benchmarks.plots import plot_accuracy_latency, plot_latency_stages
from edgeseg.benchmarks.report import Picture, benchmark_report, write_report
from edgeseg.benchmarks.results import BenchmarkResult
from edgeseg.benchmarks.sustained_plot import plot_sustained

ACCURACY_PLOT = "miou-latency.png"
STAGES_PLOT = "latency-stages.png"
SUSTAINED_PLOT = "sustained.png"


def write_numbers(result: BenchmarkResult, folder: Path) -> None:
    """``benchmark.json`` and ``benchmark.md``: all that was measured, and no package needed for it."""
    write_documents(result.to_dict(), to_markdown(result), folder / "benchmark")


def write_pictures(result: BenchmarkResult, folder: Path, peers: Peers | None = None) -> None:
    """The plots and ``report.html``, which begins with the table of peers where there is one.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    plot_accuracy_latency(result, folder / ACCURACY_PLOT)
    plot_latency_stages(result, folder / STAGES_PLOT)
    plot = Picture(folder / ACCURACY_PLOT, "Accuracy against latency: further up and to the left is better.")
    load: tuple[Picture, ...] = ()
    if result.sustained:
        plot_sustained(result.sustained, folder / SUSTAINED_PLOT)
        curves = "Under load: latency, and what the sensors said meanwhile."
        load = (Picture(folder / SUSTAINED_PLOT, curves),)
    report = replace(benchmark_report(result, (plot,), load), peers=peers)
    write_report(folder / "report.html", report)
