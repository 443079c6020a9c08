"""What the supervisor does for processes that hang or end: ends them, starts them anew, or says that it is of
no use."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from edgeseg.errors import EdgesegError, InferenceError, SourceError
from edgeseg.loop.board import Board
from edgeseg.loop.facts import Watch
from edgeseg.loop.plan import LoopPlan, SourceFacts
from edgeseg.loop.processes import Child
from edgeseg.loop.said import OncePerSecond
from edgeseg.loop.sink_results import SinkResults

OPEN_SECONDS = 20.0
READ_GRACE_MS = 1000.0
"""A camera that has stalled is given so long to come back by itself before its process is ended."""
FATAL_CRASHES = 3
"""So many ends of a process in a row, with nothing done between them, end the loop on a file."""


class Mender:
    """Called at each tick.

    Args:
        plan, board, source, watch: Of the run.
        children: Capture, inference and sinks.
        results: What has come of the sinks.
        known: By process: why it does not run, in words, while it does not. Kept here, read by who judges.
        fatal: By process: the error that it ended with, as it has told.
        hear: Has the supervisor hear what a process has said.
        told: What a process that is started anew has to know.
        log: Where ends of processes are told.
    """

    def __init__(
        self,
        plan: LoopPlan,
        board: Board,
        source: SourceFacts,
        watch: Watch,
        children: tuple[Child, Child, Child],
        results: SinkResults,
        *,
        known: dict[str, str],
        fatal: dict[str, EdgesegError],
        hear: Callable[[Child, int], None],
        told: Callable[[], Mapping[str, Any]],
        log: OncePerSecond,
    ) -> None:
        self.plan, self.board, self.source = plan, board, source
        self.capture, self.inference, self.sinks = children
        self._watch, self._results = watch, results
        self._known, self._fatal = known, fatal
        self._hear, self._told, self._log = hear, told, log
        self._crashes = {"capture": (0, 0), "inference": (0, 0)}

    def mend(self, now_ns: int) -> EdgesegError | None:
        """End what hangs, start anew what ended; an error where that is of no use."""
        self._end_what_hangs(now_ns)
        for child in (self.capture, self.inference):
            error = self._revive(child)
            if error is not None:
                return error
        return self._revive_sinks(now_ns) if self.plan.publishes else None

    def _end_what_hangs(self, now_ns: int) -> None:
        budgets = self.plan.budgets
        silent_ms, hung_ms = self._watch.silent_ms(now_ns), self._watch.hung_ms(now_ns)
        if self.source.live and self.capture.running:
            if not self.board.capture["open"]:
                self._end_what_never_opens()
            elif silent_ms > budgets.stall_ms + READ_GRACE_MS:
                self.capture.kill(f"no frame for {silent_ms / 1000:.1f} s")
        if self.inference.running and hung_ms > budgets.hang_ms:
            self.inference.kill(f"no answer for {hung_ms / 1000:.1f} s")

    def _end_what_never_opens(self) -> None:
        """A driver that hangs as it is opened; each attempt, and the process before its first, has time."""
        began = max(self.capture.started_at, int(self.board.capture["tried_ns"]) / 1e9)
        if time.monotonic() - began > OPEN_SECONDS:
            self.capture.kill(f"the camera did not open within {OPEN_SECONDS:g} s")

    def _revive(self, child: Child) -> EdgesegError | None:
        done = bool(getattr(self.board, child.role)["ended"])
        ended = child.ended()
        if ended is not None and not done:
            self._known[child.role] = ended
            self._log.say(child.role, f"{child.role}: its process ended ({ended})", time.monotonic_ns())
            self._hear(child, time.monotonic_ns())
            error = self._cannot_go_on(child, ended)
            if error is not None:
                return error
        if child.role in self._known and child.restart_when_due(self._told()):
            # The board says from here on how it fares: the model is not ready, the camera is not open.
            if child.role == "capture":
                self.board.capture["open"] = 0
            else:
                self.board.inference["ready"] = self.board.inference["busy_since_ns"] = 0
            del self._known[child.role]
        return None

    def _revive_sinks(self, now_ns: int) -> EdgesegError | None:
        """Of a live source, those sinks that can go on are opened again; an error for a file's."""
        ended = self.sinks.ended()
        if ended is not None and not self.board.sinks["ended"]:
            self._known["sinks"] = ended
            self._hear(self.sinks, now_ns)
            error = self._fatal.pop("sinks", None)
            if not self.source.live:
                return error or died("sinks", ended)
            self._log.say("sinks", str(error or f"sinks: their process ended ({ended})"), now_ns)
            self._results.process_ended(ended)
            self.board.sinks["ready"] = 0
        if "sinks" not in self._known:
            return None
        if self.board.sinks["ready"]:
            del self._known["sinks"]
            self.sinks.did_well()
        else:
            self.sinks.restart_when_due(self._told())
        return None

    def _cannot_go_on(self, child: Child, ended: str) -> EdgesegError | None:
        """An error where starting it again is no use: one of a kind that stays, or a file that crashes it."""
        error = self._fatal.pop(child.role, None)
        if error is not None and not isinstance(error, InferenceError | SourceError):
            return error
        did = int(
            self.board.inference["finished"] if child.role == "inference" else self.board.capture["read"]
        )
        before, crashes = self._crashes[child.role]
        crashes = crashes + 1 if did == before else 1
        self._crashes[child.role] = did, crashes
        if did != before:
            child.did_well()
        if self.source.live or (child.role == "inference" and crashes < FATAL_CRASHES):
            return None
        return error or died(child.role, ended)


def died(role: str, found: str) -> EdgesegError:
    """The error of a process that ended and is not started anew."""
    inference = role == "inference"
    return (InferenceError if inference else SourceError)(
        f"the {role} process",
        expected="it to go on",
        found=found,
        next_step="Check the free memory"
        + (
            ", then the bundle with: edgeseg verify BUNDLE." if inference else " and what it reads or writes."
        ),
    )
