"""The third sheet: accuracy against latency, from the results of benchmarks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from edgeseg.dashboard.figures import accuracy_latency
from edgeseg.dashboard.markup import Cell, Row, plain, table
from edgeseg.dashboard.parts import Measured, Parts, Settings
from edgeseg.tables import points


def show_results(settings: Settings, parts: Parts) -> None:
    """The plot of what was measured alike, with its Pareto set, and its numbers.

    Raises:
        EdgesegError: The folder of results cannot be read.
    """
    found = parts.find_results(Path(settings.results)) if settings.results else None
    for fault in found.faults if found else ():
        st.warning(plain(fault), icon=":material/warning:")
    if found is None or not found.measured:
        where = f"below {settings.results}" if settings.results else "here: name their folder with --results"
        st.info(plain(f"There are no results of 'edgeseg benchmark' {where}."), icon=":material/info:")
        return
    chosen = _choose(found.measured)
    if not chosen:
        st.info("Choose results in the sidebar.", icon=":material/info:")
        return
    kept = parts.pareto([(m.ms["p50"], math.nan if m.miou is None else m.miou) for m in chosen])
    st.subheader("Accuracy and latency", anchor=False)
    st.caption(plain(f"{chosen[0].machine}; {chosen[0].scored_on}"))
    if any(m.miou is not None for m in chosen):
        st.plotly_chart(accuracy_latency(chosen, kept, parts.palette), config={"displaylogo": False})
    _show_table(chosen, kept)


def _choose(measured: Sequence[Measured]) -> list[Measured]:
    """Only what was measured alike is shown together."""
    groups: dict[str, list[Measured]] = {}
    for model in measured:
        groups.setdefault(f"{model.machine}; {model.scored_on}", []).append(model)
    by_size = sorted(groups, key=lambda name: -len(groups[name]))
    alike: str = st.sidebar.selectbox(
        "Measured alike", by_size, help="The machine, the frames and the labelled images."
    )
    files = list(dict.fromkeys(model.file for model in groups[alike]))
    wanted = st.sidebar.multiselect("Results", files, default=files, key=f"results of {alike}")
    return [model for model in groups[alike] if model.file in wanted]


def _show_table(models: Sequence[Measured], kept: Sequence[bool]) -> None:
    percentiles = ("p50", "p90", "p99", "p99.9", "max")
    several = len({model.file for model in models}) > 1
    left = [Cell(name, left=True) for name in ("model", "runtime", "Pareto set", *["result"] * several)]
    header: Row = ["", *left[:2], "threads", "mIoU", *percentiles, "peak MiB", *left[2:]]
    rows: list[Row] = [
        [
            str(number),
            Cell(model.name, best=best, left=True),
            Cell(f"{model.runtime} {model.precision}", left=True),
            str(model.threads),
            Cell(points(model.miou), best=best),
            *(Cell(f"{model.ms[name]:.2f}", best=best and name == "p50") for name in percentiles),
            f"{model.memory_mib:.0f}" if model.memory_mib is not None else "n/a",
            Cell("in it" if best else "", left=True),
            *[Cell(model.file, left=True)] * several,
        ]
        for number, (model, best) in enumerate(zip(models, kept, strict=True), start=1)
    ]
    st.html(table(header, rows))
    st.caption(
        "Milliseconds of the whole path, frame by frame. In the Pareto set is what no other beats "
        "in both p50 and mIoU."
    )
    marks = dict.fromkeys(f"{model.file}: {mark}" for model in models for mark in model.marks)
    if marks:
        told = "\n".join(f"- {plain(mark)}" for mark in marks)
        st.warning(f"These numbers are less than they seem:\n\n{told}", icon=":material/flag:")
