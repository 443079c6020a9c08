"""Running a comparison: what is finished is kept, what was cut off is continued, the rest is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeseg.atomic import check_writable
from edgeseg.training.comparison.outcome import Outcome, read_outcome
from edgeseg.training.comparison.plan import Comparison, PlannedRun, check_same_comparison
from edgeseg.training.recipe import Recipe

Check = Callable[[Sequence[Recipe]], None]
"""Refuses recipes that cannot be trained: :func:`edgeseg.training.recipe_check.check_recipes`."""

Train = Callable[[PlannedRun], None]
"""Trains a run and notes its outcome: :func:`edgeseg.training.comparison.trial.train_run`."""

Report = Callable[[Sequence[Outcome]], None]
"""Called with everything that is over so far, in the plan's order."""


def run_comparison(comparison: Comparison, check: Check, train: Train, report: Report) -> list[Outcome]:
    """Train what is not trained yet.

    Args:
        comparison: The plan.
        check: Called once, with the recipe of each variant that has runs left.
        train: Called for each of them.
        report: Called before them, and after each.

    Returns:
        What came of each run, in the plan's order. A run that collapsed, or whose loss was not finite, or
        that was found to have another loss than planned, is one of them, with its reason.

    Raises:
        UsageError: The folder holds another comparison, or a recipe does not fit its model, loss or data.
        DataError: The dataset cannot be read, or a file of a run is damaged.
        OutputError: The folder cannot be written to.
        KeyboardInterrupt: It was interrupted; the same call continues it.
    """
    check_same_comparison(comparison)
    check_writable(comparison.out)
    outcomes = {run.name: outcome for run in comparison.runs if (outcome := read_outcome(run))}
    pending = [run for run in comparison.runs if run.name not in outcomes]
    if pending:
        check([*{run.variant: run.recipe for run in pending}.values()])
    report(_in_order(comparison, outcomes))
    for run in pending:
        train(run)
        outcomes[run.name] = _outcome(run)
        report(_in_order(comparison, outcomes))
    return _in_order(comparison, outcomes)


def _in_order(comparison: Comparison, outcomes: dict[str, Outcome]) -> list[Outcome]:
    return [outcomes[run.name] for run in comparison.runs if run.name in outcomes]


def _outcome(run: PlannedRun) -> Outcome:
    outcome = read_outcome(run)
    if outcome is None:
        raise RuntimeError(f"{run.name} was trained and noted no outcome")
    return outcome
