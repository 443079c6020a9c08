"""The loop as one call: newest frame in, mask out, and an honest account of both."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import Any

from edgeseg.errors import EdgesegError
from edgeseg.loop.board import DURATIONS
from edgeseg.loop.health import Health
from edgeseg.loop.ledger import read_ledger
from edgeseg.loop.notify import Notifier
from edgeseg.loop.plan import LoopPlan
from edgeseg.loop.realtime import supervising
from edgeseg.loop.report import STAGES, Ended, LoopReport, SinkReport
from edgeseg.loop.supervisor import OnEvent, OnStatus, Supervisor


def run_loop(
    plan: LoopPlan,
    *,
    on_status: OnStatus | None = None,
    on_event: OnEvent | None = None,
    health: Health | None = None,
    notify: Notifier | None = None,
    stop: threading.Event | None = None,
) -> LoopReport:
    """Segment a source's frames until it ends, cannot go on, or ``stop`` is set; then finish the sinks.

    Capture, inference and sinks are processes of their own, and this one watches them. The newest frame wins:
    one that inference has no time for is overwritten by the next, and one older than two frame periods is
    thrown away, so that no mask is older than two periods and its own inference when it is finished. Files
    are played at their own rate, as if they were a camera, unless the plan says ``every_frame``. A live
    source that is lost is opened again, and a process that hangs or crashes is started anew, for as long as
    the loop runs.

    Args:
        plan: What to do.
        on_status: Called about twice a second.
        on_event: Called with each event of the loop: plain JSON values; ``event`` names the kind, ``state``,
            ``reason`` (another one for the same state), ``epoch`` or ``log``.
        health: Where the loop's state is told while it runs; by default nowhere.
        notify: The service manager that is told of it; by default none.
        stop: Set it from another thread or a signal handler to end the loop.

    Returns:
        The report. What failed on the way, if anything did, is ``report.error``: it is not raised, so that
        there is a report in every case.

    Raises:
        EdgesegError: Source, bundle or sink cannot be opened, or the system refuses what ``plan.realtime``
            asks for; nothing was made.
    """
    stop = stop or threading.Event()
    with supervising() if plan.realtime else nullcontext():
        supervisor = Supervisor(
            plan,
            on_status or _nothing,
            on_event or _nothing,
            health or Health(),
            stop,
            notify or Notifier(),
        )
        error = supervisor.run()
    return _report(supervisor, error)


def _nothing(_: Any) -> None:
    pass


def _report(supervisor: Supervisor, error: EdgesegError | None) -> LoopReport:
    board, source, facts = supervisor.board, supervisor.source, supervisor.facts
    stopped = supervisor.stop.is_set()
    error = error or next(iter(supervisor.results.errors.values()), None)
    ended: Ended = "failed" if error else "stopped" if stopped else "end of stream"
    last_ns = int(board.inference["finished_ns"])
    seconds = (last_ns - supervisor.started_ns) / 1e9 if last_ns else 0.0
    finished = int(board.inference["finished"])
    summaries = {name: board.durations(name).summary() for name in DURATIONS}
    waits = source.mode == "every-frame"
    return LoopReport(
        bundle=facts["bundle"],
        digest=facts["digest"],
        signature=facts["signature"],
        runtime=facts["runtime"],
        threads=facts["threads"],
        build_note=facts["build_note"],
        source=source.name,
        source_fps=source.fps,
        frame_size=source.frame_size,
        source_format=source.format,
        mode=source.mode,
        ended=ended,
        error=error,
        epochs=int(board.capture["epoch"]),
        restarts={c.role: c.starts - 1 for c in supervisor.children if c.starts > 1},
        states=supervisor.seconds_in,
        changes=tuple(
            ((c.at_ns - supervisor.started_ns) / 1e9, c.after, c.reason) for c in supervisor.changes
        ),
        seconds=seconds,
        fps=finished / seconds if seconds > 0 else 0.0,
        ledger=read_ledger(board),
        collections=sum(int(s["collections"]) for s in (board.capture, board.inference, board.sinks)),
        stages={name: summaries[name] for name in STAGES},
        age=summaries["age"],
        sinks=tuple(_sink(supervisor, index) for index in range(len(supervisor.results.names))),
        max_overdue_ms=None if waits or not finished else float(board.inference["overdue_ms"]),
    )


def _sink(supervisor: Supervisor, index: int) -> SinkReport:
    count, name = supervisor.board.sink(index), supervisor.results.names[index]
    return SinkReport(
        name=name,
        output=supervisor.results.outputs.get(index),
        written=int(count["written"]),
        late=int(count["late"]),
        age=supervisor.board.sink_age(index).summary(),
        error=supervisor.results.errors.get(index),
    )
