"""One trial, in the process that trains it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from typing_extensions import override

from edgeseg.lock import only_one
from edgeseg.training.continuation import bring_to_end
from edgeseg.training.observer import Observer, Run, Stopped
from edgeseg.training.recipe import Recipe
from edgeseg.training.run_folder import EpochRow, RunFolder

OnEpoch = Callable[[int, float], bool]
"""Told an epoch, from 1, and its val mIoU at model resolution; gives whether to go on."""

Measure = Callable[[RunFolder], float]
"""Measures a trained run for an objective that training does not know."""


def train_trial(
    recipe: Recipe,
    folder: RunFolder,
    on_epoch: OnEpoch,
    measures: Mapping[str, Measure],
    observers: Sequence[Observer] = (),
) -> dict[str, float] | None:
    """Bring a trial to its end from wherever it is; gives its objectives, or ``None`` where it was stopped.

    ``miou`` is that of the best epoch at label resolution, 0 to 1; the rest is what ``measures`` give.

    Raises:
        EdgesegError, KeyboardInterrupt: As :func:`edgeseg.training.fit.train` and ``measures``.
    """
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    # Whoever trained it before may not have noticed yet that its sweep has ended.
    with only_one(folder.path):
        try:
            summary = bring_to_end(recipe, folder, [*observers, _Reporter(on_epoch)])
        except Stopped:
            return None
        return {"miou": summary["miou"], **{name: measure(folder) for name, measure in measures.items()}}


class _Reporter(Observer):
    """Tells of each epoch, of a run that goes on also of those before, and stops the run when told to."""

    def __init__(self, on_epoch: OnEpoch) -> None:
        self._on_epoch = on_epoch

    @override
    def started(self, run: Run) -> None:
        self._epochs = run.recipe.epochs
        for row in run.folder.read_rows()[: run.first_epoch]:
            self._tell(row)

    @override
    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        self._tell(row)

    def _tell(self, row: EpochRow) -> None:
        # After the last one there is nothing left to be spared.
        if not self._on_epoch(row.epoch, row.val_miou) and row.epoch < self._epochs:
            raise Stopped
