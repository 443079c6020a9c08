"""A training run on the terminal: a live line for the epoch under way, and one line for each that is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from typing_extensions import override

from edgeseg.cli.console import console
from edgeseg.training.observer import Observer, Run, Status
from edgeseg.training.run_folder import EpochRow

_REFRESH_SECONDS = 0.2


class TrainingProgress(Observer):
    """Writes to stderr. Without a terminal there are no bars, only the lines.

    Use it in a ``with`` statement: an error before the run has started, while images are decoded, leaves the
    terminal without its cursor otherwise.

    ``run`` is the run as it started, ``None`` before that.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[scores]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._name = ""
        self._shown = 0.0

    def __enter__(self) -> TrainingProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @override
    def preparing(self, split: str, finished: int, total: int) -> None:
        self._show(f"Decoding {split}", finished, total)
        if finished == total:
            console.print(f"Decoded {total} images of {split}", markup=False)

    @override
    def started(self, run: Run) -> None:
        self.run = run
        recipe = run.recipe
        console.print(f"Run folder: {run.folder.path}", markup=False, soft_wrap=True)
        console.print(
            f"{recipe.model}, {run.parameters / 1e6:.2f} million parameters, {recipe.height}x{recipe.width}, "
            f"{run.precision}; loss {recipe.loss}; {run.steps_per_epoch} steps of {recipe.batch} per epoch",
            markup=False, soft_wrap=True,
        )  # fmt: skip
        if run.without_effect:
            names = ", ".join(run.without_effect)
            console.print(f"Without effect: {names} (no encoder, or no teacher, in this run)", markup=False)
        if run.first_epoch:
            console.print(f"Continuing after epoch {run.first_epoch} of {recipe.epochs}")
        if run.first_epoch < recipe.epochs:
            # The first step comes late, for the model is compiled then: the bar is there before it.
            self._show(f"Epoch {run.first_epoch + 1}/{recipe.epochs}", 0, run.steps_per_epoch)

    @override
    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        run = self._started()
        last = step == run.steps_per_epoch
        # Every line drawn takes time from training: a few each second are enough.
        if last or time.monotonic() - self._shown >= _REFRESH_SECONDS:
            scores = f"loss {logs['loss']:.3f}  mIoU {100 * logs['miou']:.1f}"
            name = f"Validating {epoch}/{run.recipe.epochs}" if last else f"Epoch {epoch}/{run.recipe.epochs}"
            self._show(name, step, run.steps_per_epoch, scores)

    @override
    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        self._hide()
        epochs = self._started().recipe.epochs
        console.print(
            f"Epoch {row.epoch:>{len(str(epochs))}}/{epochs}  "
            f"loss {row.loss:.3f}  mIoU {100 * row.miou:4.1f}   "
            f"val loss {row.val_loss:.3f}  val mIoU {100 * row.val_miou:4.1f}{' *' if best else '  '} "
            f"lr {row.learning_rate:.1e}  {row.seconds:.0f} s",
            markup=False, soft_wrap=True,
        )  # fmt: skip

    @override
    def evaluating(self, finished: int, total: int) -> None:
        self._show("Evaluating the best epoch", finished, total)

    @override
    def ended(self, status: Status, summary: Mapping[str, Any]) -> None:
        self._stop()
        if summary:
            console.print(
                f"Best epoch {summary['best_epoch']} (* above): mIoU {100 * summary['miou']:.1f} "
                f"at label resolution on {summary['split']}",
                markup=False, soft_wrap=True,
            )  # fmt: skip

    def _started(self) -> Run:
        if self.run is None:
            raise RuntimeError("a step was reported before the run started")
        return self.run

    def _show(self, name: str, finished: int, total: int, scores: str = "") -> None:
        self._shown = time.monotonic()
        if self._task is None or name != self._name:
            self._hide()
            self._progress.start()
            self._name, self._task = name, self._progress.add_task(name, total=total, scores=scores)
        self._progress.update(self._task, completed=finished, total=total, scores=scores)

    def _stop(self) -> None:
        self._hide()
        # Rich ends a line each time that it is stopped, shown or not.
        if self._progress.live.is_started:
            self._progress.stop()

    def _hide(self) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
