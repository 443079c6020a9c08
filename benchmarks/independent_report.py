"""edgeseg's times beside an independent harness's, written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.harnesses import STATISTICS
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.independent import TOLERANCE, Comparison
from edgeseg.tables import markdown_table

HEADER = ("bundle", "inference", "edgeseg, ms", "harness, ms", "ratio")
_NOT_GIVEN = "not given"


@dataclass(frozen=True)
class IndependentBenchmark:
    """A whole measurement, with what it was made on; ``settings`` are plain values."""

    created: str
    command: str
    host: Host
    settings: dict[str, Any]
    comparisons: tuple[Comparison, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "settings": self.settings,
            "tolerance": TOLERANCE,
            "bundles": [comparison.to_dict() for comparison in self.comparisons],
        }


def rows(comparisons: Iterable[Comparison]) -> list[list[str]]:
    """One row for each statistic of each bundle, for ``HEADER``."""
    return [
        [f"{one.name} ({one.loaded})", name, *_cells(one, name)] for one in comparisons for name in STATISTICS
    ]


def conclusions(comparisons: Iterable[Comparison]) -> list[str]:
    """Of each bundle, whether the two agree, in a sentence."""
    return [_conclusion(one) for one in comparisons]


def write_independent(result: IndependentBenchmark, path: Path) -> None:
    """``PATH.json`` and ``PATH.md``; ``path`` is given without a suffix."""
    write_documents(result.to_dict(), _markdown(result), path)


def _cells(comparison: Comparison, statistic: str) -> list[str]:
    if statistic not in comparison.shared:
        return [f"{comparison.ours_ms(statistic):.2f}", _NOT_GIVEN, ""]
    ours, theirs = comparison.ours_ms(statistic), comparison.theirs_ms(statistic)
    return [f"{ours:.2f}", f"{theirs:.2f}", f"{comparison.ratio(statistic):.3f}"]


def _conclusion(comparison: Comparison) -> str:
    percentiles = [name for name in comparison.shared if name != "mean"]
    if any(isnan(comparison.ratio(name)) for name in percentiles):
        return f"{comparison.name}: too fast for what {comparison.harness} writes down; nothing is compared."
    worst = max(percentiles, key=lambda name: abs(comparison.ratio(name) - 1))
    verdict = "agree" if comparison.agrees else "do not agree"
    return (
        f"{comparison.name}: edgeseg and {comparison.harness} {verdict} within {100 * TOLERANCE:.0f} % in "
        f"{', '.join(percentiles)}; they differ most in {worst}, by "
        f"{100 * (comparison.ratio(worst) - 1):+.1f} %."
    )


def _markdown(result: IndependentBenchmark) -> str:
    host, settings = result.host, result.settings
    given = dict.fromkeys(f"- {one.harness}: {one.gives}" for one in result.comparisons)
    versions = dict.fromkeys(
        f"{one.loaded.runtime} {one.loaded.runtime_version}" for one in result.comparisons
    )
    paragraphs = [
        "# Inference beside an independent harness",
        f"`{result.command}`",
        f"{result.created}. {host.describe()} {', '.join(versions)}.",
        f"{settings['frames']} inferences by each of the two, in {settings['rounds']} rounds that take "
        f"turns; {settings['threads']} threads, {settings['warmup']} warm-up inferences, a process for each. "
        "Each number is the median of its rounds, and each ratio that of the rounds' ratios; one above 1 is "
        "edgeseg's the slower.",
        "\n".join(f"- {text}" for text in conclusions(result.comparisons)),
        markdown_table(HEADER, rows(result.comparisons)),
        "What each harness gives:",
        "\n".join(given),
        _WHAT,
    ]
    return "\n\n".join(paragraphs) + "\n"


_WHAT = (
    "edgeseg's number is the stage `infer` of its benchmark, on the bundle's golden frames at the model's "
    "size: the runtime's call, the check of the frame before it, the copies of input and output around it. "
    "Between two of them it decodes a small JPEG and copies a mask, where a harness goes straight on; so a "
    "little more is expected of it, and the less the model takes the more that shows."
)
