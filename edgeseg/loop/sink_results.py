"""What has come of each sink: its file, its error, and what a process that was ended has left of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from edgeseg.errors import EdgesegError, SinkError
from edgeseg.loop.board import Board
from edgeseg.loop.plan import LoopPlan
from edgeseg.loop.sinks import clear_unfinished, goes_on


@dataclass
class SinkResults:
    """By the sinks' places in the plan.

    Attributes:
        names: As the sinks say them, once they are open.
        outputs: Files and folders that are there now.
        errors: What they failed with.
        lost: Those that are not opened again when their process is started anew.
    """

    plan: LoopPlan
    board: Board
    names: list[str] = field(default_factory=list)
    outputs: dict[int, Path] = field(default_factory=dict)
    errors: dict[int, EdgesegError] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)

    def process_ended(self, found: str) -> None:
        """Those that cannot go on where they were have failed, and are told of as any other that has."""
        for index, text in enumerate(self.plan.sinks):
            if not goes_on(text) and index not in self.errors:
                self._unfinished(index, found)
        # Not those alone: one that had failed by itself is not tried again either.
        self.lost = {*self.errors}
        for index in self.lost:
            self.board.sink(index)["failed"] = 1

    def loop_ended(self, seconds: float) -> None:
        """Videos that were not finished so long after the end are no videos."""
        for index, text in enumerate(self.plan.sinks[: len(self.names)]):
            begun = bool(self.board.sink(index)["written"]) and not goes_on(text)
            if begun and index not in self.outputs and index not in self.errors:
                self._unfinished(index, f"{seconds:g} s after it was told to stop it was not")

    def _unfinished(self, index: int, found: str) -> None:
        self.errors[index] = SinkError(
            self.names[index],
            expected="its process to go on until it is finished",
            found=found,
            next_step="A video is not kept, of a folder there is what was written. Check memory and disk.",
        )
        clear_unfinished(self.plan.sinks[index])
