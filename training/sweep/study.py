"""A sweep's trials, in Optuna's storage: what is over, what is to be tried next, what was cut off.

The storage is the one thing that is believed. A trial that is finished there is never trained again; one that
was running when its sweep ended is marked as failed, and its values wait to be tried again in its folder.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgeseg.camera import without_password
from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.training.sweep.plan import OBJECTIVES, Sweep

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

State = Literal["finished", "pruned", "failed", "unfinished"]

# Attributes of Optuna's trials: the run folder's name, and why it failed: one without a reason was cut off.
_RUN, _FAILURE = "run", "failure"
# Until so many are over the median says little, and in a run's first part all are much alike.
_FIRST_UNPRUNED, _PART_UNPRUNED = 4, 0.25
_REDUCTION = 3


@dataclass(frozen=True)
class Trial:
    """A trial that is to be trained. ``settings`` are its ``params`` as ``--set`` takes them."""

    name: str
    params: Mapping[str, Any]
    settings: Mapping[str, str]


@dataclass(frozen=True)
class TrialRow:
    """What is known of a trial.

    ``params`` are its values as Optuna keeps them: numbers, or the texts of choices. ``values`` are those of
    the objectives, by name: mIoU at label resolution, 0 to 1; latency in milliseconds. ``reported`` is epochs
    from 1 to val mIoU at model resolution.
    """

    name: str
    state: State
    params: Mapping[str, Any]
    values: Mapping[str, float]
    reported: Mapping[int, float]
    failure: str | None = None


def require_optuna() -> None:
    """Say before slow work that Optuna is not there.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("edgeseg sweep", "optuna", "sweep") from error


class Study:
    """The trials of a sweep.

    Args:
        sweep: The plan.
        storage: An address as SQLAlchemy takes it; ``None``: the file in the sweep's folder.
        continued: The trials have to be there: another storage's would begin the sweep anew.

    Raises:
        MissingExtraError: Optuna is not installed.
        UsageError: The storage cannot be used, or has no such trials.
    """

    def __init__(self, sweep: Sweep, storage: str | None = None, *, continued: bool = False) -> None:
        require_optuna()
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.sweep = sweep
        self._asked: dict[str, optuna.Trial] = {}
        self.storage, self.study = _opened(sweep, storage, continued)
        # Anew with each start, or a resumed sweep would draw again what it drew at first.
        self.study.sampler = optuna.samplers.TPESampler(seed=sweep.seed + len(self.study.trials))
        self.study.pruner = _pruner(sweep)

    def ask(self) -> Trial:
        """The next trial: one that was cut off, or else what the sampler proposes."""
        return self.begin(self.study.ask())

    def begin(self, asked: optuna.Trial) -> Trial:
        """A trial of Optuna's as one of the sweep."""
        params = {parameter.field: parameter.suggest(asked) for parameter in self.sweep.space}
        name = asked.user_attrs.get(_RUN) or f"trial-{asked.number:04d}"
        asked.set_user_attr(_RUN, name)
        self._asked[name] = asked
        return Trial(name, params, self.sweep.settings(params))

    def report(self, name: str, epoch: int, miou: float) -> bool:
        """Note an epoch's val mIoU; gives whether the trial is worth going on with.

        A trial that goes on where it was cut off reports the epochs before again, with the same values.
        """
        if len(self.sweep.objectives) > 1:
            return True
        asked = self._asked[name]
        with warnings.catch_warnings():
            # Ray's search reports too, and a trial that moved to another machine starts from its first epoch.
            warnings.filterwarnings("ignore", message=".*already reported.*")
            asked.report(miou, epoch)
        # Not should_prune: Ray's search has a study of its own, whose pruner is none.
        trial = self.study.get_trials(deepcopy=False)[asked.number]
        return not self.study.pruner.prune(self.study, trial)

    def finish(self, name: str, values: Mapping[str, float]) -> None:
        """Note what a trial came to."""
        self.study.tell(self._asked[name], [values[each] for each in self.sweep.objectives])

    def prune(self, name: str) -> None:
        """Note that a trial was stopped for being behind."""
        self.study.tell(self._asked[name], state=_states().PRUNED)

    def fail(self, name: str, why: str) -> None:
        """Note that a trial came to nothing."""
        self.explain(name, why)
        self.study.tell(self._asked[name], state=_states().FAIL)

    def explain(self, name: str, why: str) -> None:
        """Note why a trial will have failed."""
        self._asked[name].set_user_attr(_FAILURE, why)

    def take_back(self) -> int:
        """Mark what was running when the sweep ended as failed, to be tried again; gives how many.

        Only where no other process works on the sweep.
        """
        states = _states()
        waiting = {t.user_attrs.get(_RUN) for t in self._trials(states.WAITING)}
        running = self._trials(states.RUNNING)
        for trial in running:
            name = _name(trial)
            # In this order: killed in between, it is found running again, and waiting once.
            if name not in waiting and len(trial.params) == len(self.sweep.space):
                self.study.enqueue_trial(trial.params, user_attrs={_RUN: name})
            self.study.tell(trial.number, state=states.FAIL)
        return len(running)

    @property
    def remaining(self) -> int:
        """How many trials are to be begun until as many as were asked for are over."""
        over = sum(row.state != "unfinished" for row in self.rows())
        return max(0, self.sweep.trials - over)

    def rows(self) -> list[TrialRow]:
        """All trials that were begun, in order; one that was cut off and begun again is there once."""
        rows = (self._row(trial) for trial in self.study.get_trials(deepcopy=False))
        return sorted((row for row in rows if row), key=lambda row: row.name)

    def importance(self) -> dict[str, float]:
        """Each field's share of what made mIoU differ, adding up to 1; empty of too few trials."""
        import optuna

        finished = self._trials(_states().COMPLETE)
        if len(finished) < 4 or len({trial.values[0] for trial in finished}) < 2:
            return {}
        with warnings.catch_warnings():
            # Of an objective that is named it is told each time that low is taken for good: so it is given.
            warnings.simplefilter("ignore")
            return optuna.importance.get_param_importances(
                self.study,
                evaluator=optuna.importance.PedAnovaImportanceEvaluator(),
                target=lambda trial: -trial.values[0],
            )

    def front(self) -> list[str]:
        """The trials that none other beats in all objectives; of one objective the best."""
        return [_name(trial) for trial in self.study.best_trials] if self._trials(_states().COMPLETE) else []

    def _row(self, trial: FrozenTrial) -> TrialRow | None:
        states = _states()
        failure = trial.user_attrs.get(_FAILURE)
        cut_off = trial.state == states.FAIL and failure is None
        if cut_off or _RUN not in trial.user_attrs:
            return None
        over: dict[Any, State] = {
            states.COMPLETE: "finished",
            states.PRUNED: "pruned",
            states.FAIL: "failed",
        }
        finished = trial.state == states.COMPLETE
        return TrialRow(
            _name(trial),
            over.get(trial.state, "unfinished"),
            trial.params or trial.system_attrs.get("fixed_params", {}),
            dict(zip(self.sweep.objectives, trial.values, strict=True)) if finished else {},
            dict(sorted(trial.intermediate_values.items())),
            failure,
        )

    def _trials(self, *states: Any) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)


def _opened(
    sweep: Sweep, storage: str | None, continued: bool
) -> tuple[optuna.storages.BaseStorage, optuna.Study]:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    address = storage or f"sqlite:///{sweep.database.resolve()}"
    directions = [OBJECTIVES[name] for name in sweep.objectives]
    try:
        opened = optuna.storages.get_storage(address)
        if continued and sweep.study not in optuna.get_all_study_names(opened):
            raise UsageError(
                f"--storage {without_password(storage)}" if storage else sweep.database,
                expected=f"the trials of this sweep, {sweep.study}",
                found="a database without them",
                next_step="Name the --storage that the sweep began with, from the same folder.",
            )
        study = optuna.create_study(
            storage=opened, study_name=sweep.study, directions=directions, load_if_exists=True
        )
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, ValueError) as error:
        raise UsageError(
            f"--storage {without_password(storage)}" if storage else sweep.database,
            expected="a database that Optuna can keep the trials in",
            found=" ".join(str(error).split())[:300],
            next_step="Leave --storage out for a file in the sweep's folder, or see Optuna's RDBStorage.",
        ) from error
    return opened, study


def _pruner(sweep: Sweep) -> optuna.pruners.BasePruner:
    import optuna

    if sweep.pruner == "median":
        unpruned = 1 + int(_PART_UNPRUNED * min(_epochs(sweep)))
        return optuna.pruners.MedianPruner(n_startup_trials=_FIRST_UNPRUNED, n_warmup_steps=unpruned)
    if sweep.pruner == "hyperband":
        return optuna.pruners.HyperbandPruner(1, max(_epochs(sweep)), _REDUCTION)
    return optuna.pruners.NopPruner()


def _epochs(sweep: Sweep) -> Sequence[int]:
    ends = [each.extremes() for each in sweep.space if each.field == "epochs"]
    return [int(float(end)) for end in ends[0]] if ends else [sweep.base.epochs]


def _name(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get(_RUN) or f"trial-{trial.number:04d}")


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState
