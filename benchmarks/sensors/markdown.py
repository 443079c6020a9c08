"""What the sensors said of several models as a section of a benchmark's Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.benchmarks.host import NOT_MEASURED
from edgeseg.benchmarks.sensors.report import SensorReport
from edgeseg.tables import markdown_table

HEADER = ("model", "W", "J per frame", "CPU MHz, first to last", "hottest, °C", "throttled")


def sensors_markdown(named: Sequence[tuple[str, SensorReport]]) -> str:
    """The section, or nothing where no sensor told anything."""
    if not named:
        return ""
    scopes = dict.fromkeys(report.power.scope for _, report in named if report.power)
    text = f"Power is of {', '.join(scopes)}, with all else that the machine did.\n\n" if scopes else ""
    return "## Power, clock and temperature\n\n" + text + markdown_table(HEADER, sensor_rows(named))


def sensor_rows(named: Sequence[tuple[str, SensorReport]]) -> list[list[str]]:
    """One row per model, for ``HEADER``."""
    return [[name, *_cells(report)] for name, report in named]


def _cells(report: SensorReport) -> list[str]:
    power, clock = report.power, report.cpu_clock
    heat = report.temperatures[report.hottest] if report.hottest else None
    throttled = {None: NOT_MEASURED, True: "**yes**", False: "no"}[report.throttling.throttled]
    return [
        f"{power.watts:.2f}" if power else NOT_MEASURED,
        f"{power.joules_per_frame:.4f}" if power else NOT_MEASURED,
        f"{clock.first:.0f} to {clock.last:.0f}" if clock else NOT_MEASURED,
        f"{heat.highest:.0f}" if heat else NOT_MEASURED,
        throttled,
    ]
