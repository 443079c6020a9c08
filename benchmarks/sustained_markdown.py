"""Minutes of load as a section of a benchmark's Markdown."""

from __future__ import annotations

from edgeseg.benchmarks.host import NOT_MEASURED
from edgeseg.benchmarks.sustained_results import Sustained, SustainedRun
from edgeseg.tables import markdown_table

HEADER = (
    "bundle",
    "frames/s",
    "p50, first tenth",
    "p50, last tenth",
    "p99",
    "max",
    "CPU MHz, first to last",
    "°C, first to highest",
    "W",
    "J per frame",
    "above idle",
    "throttled",
)


def sustained_markdown(sustained: Sustained) -> str:
    """The section, with its heading and without a line end."""
    options = sustained.options
    several = (
        f" One bundle after another, in this order; between two the machine rested until it was as cool as "
        f"before the first, for at most {options['rest_seconds']:g} s."
        if len(sustained.runs) > 1
        else ""
    )
    paragraphs = [
        f"## Sustained load, {options['minutes']:g} minutes",
        "Whole path, ms per frame, frames without a pause. Tenths are of the time. The clock is the mean of "
        "the cores, each with the weight of its work. Power is that of the rails named below, with all else "
        f"that the machine did.{several} The sensors took {100 * sustained.sampling:.2f} % of a core.",
        markdown_table(HEADER, sustained_rows(sustained)),
        "\n".join(f"- {line}" for line in _all_notes(sustained)),
    ]
    return "\n\n".join(filter(None, paragraphs))


def sustained_rows(sustained: Sustained) -> list[list[str]]:
    """One row per bundle, for ``HEADER``."""
    return [_row(run) for run in sustained.runs]


def _row(run: SustainedRun) -> list[str]:
    total, sensed = run.total, run.sensed
    power, clock = sensed.power, sensed.cpu_clock
    heat = sensed.temperatures[sensed.hottest] if sensed.hottest else None
    above = power.joules_per_frame_above_idle if power else None
    throttled = sensed.throttling.throttled
    return [
        run.name,
        f"{run.frames / run.seconds:.1f}",
        *(f"{value:.2f}" for value in (run.first_p50, run.last_p50, total.p99, total.max)),
        f"{clock.first:.0f} to {clock.last:.0f}" if clock else NOT_MEASURED,
        f"{heat.first:.0f} to {heat.highest:.0f}" if heat else NOT_MEASURED,
        f"{power.watts:.2f}" if power else NOT_MEASURED,
        f"{power.joules_per_frame:.4f}" if power else NOT_MEASURED,
        f"{above:.4f}" if above is not None else NOT_MEASURED,
        {None: NOT_MEASURED, True: "**yes**", False: "no"}[throttled],
    ]


def _all_notes(sustained: Sustained) -> list[str]:
    early = [f"{name}: nothing was measured: {why}" for name, why in sustained.ended.items()]
    return [*(line for run in sustained.runs for line in _notes(run)), *early]


def _notes(run: SustainedRun) -> list[str]:
    sensed = run.sensed
    watched = ", ".join(sensed.throttling.watched)
    rested = (
        [f"{run.name}: rested {run.rest.seconds:.0f} s before; {run.rest.ended}."] if run.rest.seconds else []
    )
    return [
        *(f"**{run.name}: {mark}.**" for mark in run.marks),
        *rested,
        *([f"{run.name}: power of {sensed.power.scope}."] if sensed.power else []),
        *([f"{run.name}: temperature of {sensed.hottest}."] if sensed.hottest else []),
        *([f"{run.name}: throttling judged by {watched}."] if watched else []),
        *(f"{run.name}: {subject} not measured ({why})." for subject, why in sensed.why_not.items()),
    ]
