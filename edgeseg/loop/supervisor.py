"""The supervisor: starts the loop's processes, watches them, and says in which state the loop is.

It loads no model and touches no pixel. What it knows it reads from the board, so that neither a hung driver
nor a crashed runtime can keep it from saying so.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeseg.errors import EdgesegError, UsageError
from edgeseg.loop.board import MOST_SINKS, Board
from edgeseg.loop.facts import Known, Watch
from edgeseg.loop.health import Health
from edgeseg.loop.ledger import read_ledger
from edgeseg.loop.mending import OPEN_SECONDS, Mender, died
from edgeseg.loop.notify import Notifier
from edgeseg.loop.plan import FRAMES, MASKS, LoopPlan, SourceFacts
from edgeseg.loop.processes import Child, error_of
from edgeseg.loop.report import LoopStatus
from edgeseg.loop.ring import Ring
from edgeseg.loop.said import OncePerSecond
from edgeseg.loop.sink_results import SinkResults
from edgeseg.loop.states import Change, StateMachine
from edgeseg.loop.worker import Descriptors

TICK_SECONDS = 0.01
STATUS_SECONDS = 0.5
STOP_SECONDS = 1.5
REASON_NS = 500_000_000
"""Causes of one state that alternate faster than this are not all told."""
_MOST_UNTOLD = 100

OnStatus = Callable[[LoopStatus], None]
OnEvent = Callable[[Mapping[str, Any]], None]


class Supervisor:
    """One run of the loop.

    Args:
        plan: What to do.
        on_status: Called about twice a second.
        on_event: Called with each event: plain JSON values, of which ``event`` names the kind.
        stop: Ends the loop when it is set.
        notify: The service manager, which is told how the loop is.

    Attributes:
        board, source, facts: What the parts of the run say of themselves; ``facts`` is what the inference
            process tells of its bundle.
        states: The state, and seconds in each so far.
    """

    def __init__(
        self,
        plan: LoopPlan,
        on_status: OnStatus,
        on_event: OnEvent,
        health: Health,
        stop: threading.Event,
        notify: Notifier,
    ) -> None:
        _check_sinks(plan)
        self.plan, self.stop = plan, stop
        self.board = Board.create()
        frames, masks = Ring.create("frames", FRAMES), Ring.create("masks", MASKS)
        self._rings = frames, masks  # their memory lives as long as they do
        descriptors = Descriptors(self.board.block.fd, frames.fds, masks.fds)
        self._fds = descriptors.all
        self.capture = Child("capture", plan, descriptors, signal.SIGKILL)
        self.inference = Child("inference", plan, descriptors, signal.SIGKILL)
        # What its sinks have by then is finished, should the supervisor be gone.
        self.sinks = Child("sinks", plan, descriptors, signal.SIGTERM)
        self.children = (self.capture, self.inference, self.sinks)
        self.states = StateMachine(time.monotonic_ns())
        self.changes: list[Change] = []
        self.seconds_in: dict[str, float] = {}
        self.source: SourceFacts
        self.facts: dict[str, Any] = {}
        self.results = SinkResults(plan, self.board)
        self._untold: deque[dict[str, Any]] = deque(maxlen=_MOST_UNTOLD)
        self.started_ns = time.monotonic_ns()
        self._on_status, self._on_event, self._health = on_status, on_event, health
        self._notify = notify
        self._log = OncePerSecond(lambda text: self._say({"event": "log", "text": text}))
        # Why what does not run does not, and with which error a process ended, by the process's name.
        self._known: dict[str, str] = {}
        self._fatal: dict[str, EdgesegError] = {}
        self._status_due = 0.0
        self._reason_told = 0, ""

    def run(self) -> EdgesegError | None:
        """Everything, until the source ends, something cannot go on, or ``stop`` is set; what went wrong.

        Raises:
            EdgesegError: The source, the bundle or a sink could not be opened at all; nothing was made.
        """
        try:
            self._open()
            self.started_ns = time.monotonic_ns()
            self._watch = Watch(self.board, self.source, self.plan.budgets, self.started_ns)
            mender = Mender(
                self.plan,
                self.board,
                self.source,
                self._watch,
                self.children,
                self.results,
                known=self._known,
                fatal=self._fatal,
                hear=self._hear,
                told=self._told,
                log=self._log,
            )
            self.board.supervisor["go"] = self.started_ns
            return self._supervise(mender)
        finally:
            self._close()

    # Opening.

    def _open(self) -> None:
        """The source, then the model, then the sinks: what is refused later leaves nothing behind."""
        self.capture.start({"live": False})
        opened = self._first_word(self.capture, "opened", OPEN_SECONDS)
        names = SourceFacts.__dataclass_fields__
        values = {name: value for name, value in opened.items() if name in names}
        self.source = SourceFacts(**{**values, "frame_size": tuple(values["frame_size"])})
        self.inference.start(self._told())
        self.facts = self._first_word(self.inference, "ready", None)
        if self.plan.publishes:
            self.sinks.start(self._told())
            self.results.names = self._first_word(self.sinks, "sinks", OPEN_SECONDS)["names"]

    def _told(self) -> dict[str, Any]:
        """What the other processes have to know of the source and the bundle."""
        told = {"mode": self.source.mode, "period_ms": self.source.period_ms, "fps": self.source.fps}
        return {**told, "live": self.source.live, "lost_sinks": [*self.results.lost], **self.facts}

    def _first_word(self, child: Child, kind: str, seconds: float | None) -> dict[str, Any]:
        """Wait until a process says that it is ready.

        Raises:
            EdgesegError: What it could not open, that it died, or that it took too long.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            ended = child.ended()  # before what it has said: that may be why
            for event in child.hear():
                if event["kind"] == kind:
                    return event
                if event["kind"] == "fatal":
                    raise error_of(event, child.role)
            if ended is not None:
                raise died(child.role, ended)
            if self.stop.is_set():
                raise _StoppedError
            if deadline is not None and time.monotonic() > deadline:
                raise died(child.role, f"no word from it for {seconds:g} s")
            time.sleep(TICK_SECONDS)

    # Running.

    def _supervise(self, mender: Mender) -> EdgesegError | None:
        while True:
            now_ns = time.monotonic_ns()
            self._hear_all(now_ns)
            error = mender.mend(now_ns)
            self._tell_sinks()
            self._judge(now_ns)
            if error is not None or self._over():
                self._hear(self.capture, now_ns)  # why its file ended, should it have broken
                return error or self._fatal.get("capture")
            if self.stop.is_set():
                self.board.supervisor["stopping"] = 1
                self._judge(now_ns)
                return None
            self._log.settle(now_ns)
            self._tell_status()
            time.sleep(TICK_SECONDS)

    def _over(self) -> bool:
        last = self.board.sinks if self.plan.publishes else self.board.inference
        # A file has time; but nobody waits for masks that can go nowhere.
        in_vain = self.plan.publishes and len(self.results.errors) == len(self.results.names)
        return bool(last["ended"]) or (in_vain and self.source.mode == "every-frame")

    def _judge(self, now_ns: int) -> None:
        """The state, on the board before anything else hears of it."""
        before, since_ns = self.states.state, self.states.since_ns
        if not self.board.capture["open"]:
            self._hear(self.capture, now_ns)  # why it is not
        known = Known(
            capture_ended=self._known.get("capture", ""),
            inference_ended=self._known.get("inference", ""),
            sinks_ended=self._known.get("sinks", ""),
            source_error=self._known.get("source", ""),
            ending=self._ending(),
        )
        change = self.states.update(now_ns, self._watch.facts(now_ns, known))
        self.board.tell(self.states.state, self.states.reason)
        self._notify.tick(now_ns, self.states.state, self.states.reason)
        if change is not None or self._health.due(now_ns):
            self._health.tell(now_ns, self.snapshot())
        if change is None:
            self._tell_other_reason(now_ns)
        else:
            self._reason_told = now_ns, _cause(change.reason)
            self._count_seconds(before, now_ns - since_ns)
            self.changes = [*self.changes[-999:], change]
            event = {
                "event": "state",
                "state": change.after,
                "before": change.before,
                "reason": change.reason,
            }
            self._say({**event, "monotonic_ns": now_ns})

    def _count_seconds(self, state: str, nanoseconds: int) -> None:
        self.seconds_in[state] = self.seconds_in.get(state, 0.0) + nanoseconds / 1e9

    def _tell_other_reason(self, now_ns: int) -> None:
        """That a state which goes on has another cause by now: it would be missed among the changes."""
        told_ns, told = self._reason_told
        states, cause = self.states, _cause(self.states.reason)
        if states.state in ("DEGRADED", "FAILED") and cause != told and now_ns - told_ns > REASON_NS:
            self._reason_told = now_ns, cause
            event = {"event": "reason", "state": states.state, "reason": states.reason}
            self._say({**event, "monotonic_ns": now_ns})

    def _ending(self) -> str:
        """Not before its last mask is made: a source that has ended takes nothing from what it gave."""
        if self.board.stopping:
            return "told to stop"
        return "the source has ended" if self.board.inference["ended"] else ""

    def _hear_all(self, now_ns: int) -> None:
        for child in self.children:
            self._hear(child, now_ns)

    def _hear(self, child: Child, now_ns: int) -> None:
        for event in child.hear():
            kind = event["kind"]
            if kind == "fatal":
                self._fatal[child.role] = error_of(event, child.role)
            elif kind == "outputs":
                self.results.outputs = {int(index): Path(path) for index, path in event["paths"].items()}
            elif kind == "sink":
                error = error_of(event, child.role)
                self.results.errors[event["index"]] = error
                self._log.say("sink", str(error), now_ns)
            elif kind == "source":
                self._known["source"] = event["parts"].get("found", "")
                self._log.say("source", str(error_of(event, "capture")), now_ns)
            elif kind == "inference":
                self._log.say("inference", str(error_of(event, child.role)), now_ns)
            elif kind == "corrupt":
                self._log.say("corrupt", f"camera: a damaged frame ({event.get('found')})", now_ns)
            elif kind == "opened":
                self._known.pop("source", None)
                self._say({"event": "epoch", "epoch": event["epoch"], "format": event["format"]})

    def _say(self, event: dict[str, Any]) -> None:
        self._on_event(event)
        if self.plan.publishes:
            self._untold.append(event)
            self._tell_sinks()

    def _tell_sinks(self) -> None:
        """What happens while their process is gone, the next one hears."""
        while self._untold and self.sinks.running:
            self.sinks.tell(self._untold.popleft())

    def _tell_status(self) -> None:
        now = time.monotonic()
        if now >= self._status_due:
            self._status_due = now + STATUS_SECONDS
            self._on_status(self.status())

    def status(self) -> LoopStatus:
        """How the loop is doing now."""
        inference = self.board.inference
        seconds = (time.monotonic_ns() - self.started_ns) / 1e9
        return LoopStatus(
            seconds=seconds,
            state=self.states.state,
            reason=self.states.reason,
            position=int(self.board.capture["position"]),
            frame_count=self.source.frame_count,
            fps=int(inference["finished"]) / max(seconds, 1e-3),
            age_ms=float(inference["age_ms"]),
            dropped=read_ledger(self.board).dropped,
        )

    def snapshot(self) -> dict[str, Any]:
        """How the loop is now, as plain JSON values: the health file and its answers."""
        status = self.status()
        children = {child.role: child for child in self.children}
        return {
            "pid": os.getpid(),
            "processes": {role: child.pid for role, child in children.items() if child.pid},
            "state": status.state,
            "reason": status.reason,
            "since_s": round((time.monotonic_ns() - self.states.since_ns) / 1e9, 3),
            "source": self.source.name,
            "epoch": int(self.board.capture["epoch"]),
            "sequence": int(self.board.inference["sequence"]),
            "fps": round(status.fps, 2),
            "age_ms": round(status.age_ms, 3),
            "infer_ms": round(float(self.board.inference["infer_ms"]), 3),
            "frames": read_ledger(self.board).to_dict(),
            "restarts": {role: child.starts - 1 for role, child in children.items() if child.starts},
            "sinks": [str(name) for name in self.results.names],
            "sink_errors": [str(error) for error in self.results.errors.values()],
            "bundle": self.facts["bundle"],
            "digest": self.facts["digest"],
            "signature": self.facts["signature"],
            "runtime": self.facts["runtime"],
        }

    # Ending.

    def _close(self) -> None:
        """Everybody to their end: the sinks have a moment to finish what they write, the others none."""
        self.board.supervisor["stopping"] = 1
        self._notify.stopping()
        now_ns = time.monotonic_ns()
        self._count_seconds(self.states.state, now_ns - self.states.since_ns)
        deadline = time.monotonic() + STOP_SECONDS
        self.sinks.wait(deadline - time.monotonic())
        self.inference.wait(min(0.3, deadline - time.monotonic()))
        self.capture.wait(min(0.1, max(0.0, deadline - time.monotonic())))
        for child in (self.sinks, self.inference, self.capture):
            if child is self.sinks:
                self._hear(child, now_ns)
            child.close()
        self.results.loop_ended(STOP_SECONDS)
        for fd in self._fds:
            os.close(fd)  # the board itself stays mapped, for the report


def _check_sinks(plan: LoopPlan) -> None:
    asked = len(plan.sinks)
    if asked > MOST_SINKS:
        raise UsageError(
            "--sink",
            expected=f"at most {MOST_SINKS}, a recording among them",
            found=str(asked),
            next_step="Leave some of them out.",
        )


class _StoppedError(EdgesegError):
    """The loop was told to stop before it had begun."""

    exit_code = 0  # it does what it was told

    def __init__(self) -> None:
        super().__init__(
            "the loop", expected="to begin", found="it was told to stop", next_step="Start it again."
        )


def _cause(reason: str) -> str:
    """A reason without its numbers, which change all the time."""
    return re.sub(r"[\d.]+", "", reason)
