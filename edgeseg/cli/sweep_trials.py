"""The trials of ``edgeseg sweep``: each trained in a process of its own, here or on a cluster's machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.training.documents import Origin
    from edgeseg.training.observer import Observer
    from edgeseg.training.recipe import Recipe
    from edgeseg.training.run_folder import RunFolder
    from edgeseg.training.sweep.on_ray import Cluster
    from edgeseg.training.sweep.results import Results
    from edgeseg.training.sweep.study import Study, Trial


def train_trials(study: Study, origin: Origin, mlflow: str | None, cluster: Cluster | None) -> Results:
    """Train what a sweep has left, here or on a cluster, and keep its files up to date.

    Raises:
        EdgesegError, KeyboardInterrupt: As :func:`edgeseg.training.sweep.run.run_sweep`.
    """
    from edgeseg.cli.console import console
    from edgeseg.training.sweep.on_ray import run_on_ray
    from edgeseg.training.sweep.plan import settings_text
    from edgeseg.training.sweep.report import write_report
    from edgeseg.training.sweep.results import results_of
    from edgeseg.training.sweep.run import run_sweep
    from edgeseg.training.sweep.tracking import MLflowSweep

    sweep = study.sweep
    parent = MLflowSweep(mlflow, sweep) if mlflow else None

    def begun(trial: Trial) -> None:
        number = 1 + [row.name for row in study.rows()].index(trial.name)
        line = f"Trial {number} of {sweep.trials}: {trial.name}, {settings_text(trial.params)}"
        console.print(line, markup=False, soft_wrap=True)

    def report() -> None:
        results = results_of(study)
        files = write_report(results, origin)
        if parent:
            parent.reported(results, files)

    with parent or nullcontext():
        train = _Trainer(mlflow, parent.run_id if parent else None, sweep.objectives)
        if cluster:
            run_on_ray(study, cluster, train, begun, report)
        else:
            run_sweep(study, train, begun, report)
    return results_of(study)


@dataclass(frozen=True)
class _Trainer:
    """Trains a trial in a process of its own; where a cluster's machine does, this is what is sent there."""

    mlflow: str | None
    parent: str | None
    objectives: tuple[str, ...]

    def __call__(
        self, recipe: Recipe, folder: RunFolder, on_epoch: Callable[[int, float], bool]
    ) -> Mapping[str, float] | None:
        from edgeseg.training.process import call_in_process

        values: Mapping[str, float] | None = call_in_process(
            f"trial {folder.path.name}",
            _train_trial,
            self,
            recipe,
            folder,
            answer=lambda epoch: on_epoch(*epoch),
        )
        return values


def _train_trial(
    ask: Callable[[tuple[int, float]], bool], trainer: _Trainer, recipe: Recipe, folder: RunFolder
) -> Mapping[str, float] | None:
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg sweep"):
        from edgeseg.training.sweep.trial import train_trial
    from edgeseg.cli.sweep_latency import int8_latency
    from edgeseg.cli.training_progress import TrainingProgress

    measures = {"latency": int8_latency} if "latency" in trainer.objectives else {}
    with TrainingProgress() as progress:
        return train_trial(
            recipe, folder, lambda epoch, miou: ask((epoch, miou)), measures, [progress, *_trackers(trainer)]
        )


def _trackers(trainer: _Trainer) -> list[Observer]:
    """MLflow's, where it is asked for and answers; it did when the sweep began."""
    from edgeseg.cli.console import note
    from edgeseg.errors import UsageError
    from edgeseg.training.tracking import MLflowTracker

    try:
        return [MLflowTracker(trainer.mlflow, trainer.parent)] if trainer.mlflow else []
    except UsageError as error:
        note(f"MLflow is not told of this trial: {error.found}")
        return []
