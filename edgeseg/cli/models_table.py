"""The table of ``edgeseg models``, as rows, JSON and Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.latency import Options
from edgeseg.export.model_costs import Cost
from edgeseg.tables import markdown_table

HEADER = ("model", "parameters, M", "GMACs", "LiteRT fp32, ms", "LiteRT int8, ms")
_ABSENT = "n/a"


@dataclass(frozen=True)
class Table:
    """All costs, and what they were measured on; ``options`` is ``None`` where nothing was timed."""

    command: str
    host: Host
    size: tuple[int, int]
    classes: int
    options: Options | None
    costs: tuple[Cost, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "command": self.command,
            "host": self.host.to_dict(),
            "size": list(self.size),
            "classes": self.classes,
            "measured": {name: getattr(self.options, name) for name in ("frames", "rounds", "threads")}
            if self.options
            else None,
            "models": [cost.to_dict() for cost in self.costs],
        }

    def to_markdown(self) -> str:
        """A page: the table, what it was measured on, what is missing, and each model's options."""
        height, width = self.size
        sections = [
            "# Models",
            f"`{self.command}`",
            f"Input {height}x{width}, {self.classes} classes, default options. GMACs: thousands of millions "
            "of multiply-accumulates for one image, in convolutions, dense layers and matrix products.",
            markdown_table(HEADER, rows(self.costs)),
            *([_conditions(self.host, self.options)] if self.options else []),
            *_notes(self.costs),
            "## Default options",
            "\n".join(_options(cost) for cost in self.costs if cost.parameters is not None),
        ]
        return "\n\n".join(sections) + "\n"


def rows(costs: Iterable[Cost]) -> list[list[str]]:
    """One for each model, under ``HEADER``."""
    return [
        [
            cost.name,
            _ABSENT if cost.parameters is None else f"{cost.parameters / 1e6:.2f}",
            _ABSENT if cost.macs is None else f"{cost.macs / 1e9:.2f}",
            *(_milliseconds(cost, precision) for precision in ("fp32", "int8")),
        ]
        for cost in costs
    ]


def _milliseconds(cost: Cost, precision: str) -> str:
    return f"{cost.medians[precision]:.1f}" if precision in cost.medians else _ABSENT


def _conditions(host: Host, options: Options) -> str:
    busy = " The machine was busy: the times are not the models' alone." if host.busy else ""
    versions = ", ".join(f"{name} {version}" for name, version in host.versions.items())
    return (
        f"Medians of {options.frames} inferences of each file in {options.rounds} rounds that take turns, "
        f"{options.threads} threads, on {host.cpu}, {host.cores} cores; {host.system}; Python {host.python}, "
        f"{versions}. Inference alone, on noise, with random weights; int8 was calibrated on drawn scenes. "
        f"Load average before the start {host.load}.{busy}"
    )


def _notes(costs: Iterable[Cost]) -> list[str]:
    lines = [f"- {cost.name}: {note}" for cost in costs for note in cost.notes]
    return ["## Missing", "\n".join(lines)] if lines else []


def _options(cost: Cost) -> str:
    listed = ", ".join(f"`{name}={value!r}`" for name, value in cost.options.items())
    return f"- {cost.name}: {listed or 'none'}"
