"""Who is told how a run goes: the terminal, TensorBoard, MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import override

from edgeseg.labels import LabelSet
from edgeseg.training.recipe import Recipe
from edgeseg.training.run_folder import EpochRow, RunFolder

Status = Literal["finished", "stopped", "interrupted", "failed"]


class Stopped(Exception):  # noqa: N818 - no error: nothing went wrong
    """Raised by an observer that wants no more of a run; the run folder stays, as of one interrupted."""


@dataclass(frozen=True)
class Run:
    """A run as it starts. ``first_epoch`` is 0, or the number of epochs that a resumed run has already.

    ``without_effect`` are settings that were changed and change nothing in this run.
    """

    folder: RunFolder
    recipe: Recipe
    labels: LabelSet
    precision: str
    parameters: int
    steps_per_epoch: int
    first_epoch: int
    without_effect: tuple[str, ...] = ()


class Observer:
    """Override what is of interest: every method does nothing by default."""

    def preparing(self, split: str, finished: int, total: int) -> None:
        """``finished`` of ``total`` images of a split are decoded into the cache."""

    def started(self, run: Run) -> None:
        """The run folder is there and the model is built."""

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        """A step is done; both numbers count from 1. ``logs``: the epoch's ``loss`` and ``miou`` so far."""

    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        """An epoch is validated, and its checkpoint, table and pictures are written."""

    def evaluating(self, finished: int, total: int) -> None:
        """``finished`` of ``total`` images are scored with the best checkpoint."""

    def ended(self, status: Status, summary: Mapping[str, Any]) -> None:
        """The last call; ``summary`` is what ``summary.json`` holds, empty where the run did not finish.

        It also comes where ``started`` failed, of this observer or of one before it.
        """


class Observers(Observer):
    """Several observers as one, told in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    @override
    def preparing(self, split: str, finished: int, total: int) -> None:
        self._tell(lambda o: o.preparing(split, finished, total))

    @override
    def started(self, run: Run) -> None:
        self._tell(lambda o: o.started(run))

    @override
    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        self._tell(lambda o: o.stepped(epoch, step, logs))

    @override
    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        self._tell(lambda o: o.epoch_ended(row, best))

    @override
    def evaluating(self, finished: int, total: int) -> None:
        self._tell(lambda o: o.evaluating(finished, total))

    @override
    def ended(self, status: Status, summary: Mapping[str, Any]) -> None:
        self._tell(lambda o: o.ended(status, summary))

    def _tell(self, call: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            call(observer)
