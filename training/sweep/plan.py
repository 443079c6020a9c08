"""What a sweep tries: one recipe, the fields that are varied, and what the trials are judged by."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg import __version__
from edgeseg.atomic import write_text
from edgeseg.errors import DataError, UnknownNameError, UsageError
from edgeseg.training.documents import read_json
from edgeseg.training.recipe import Recipe, make_recipe
from edgeseg.training.run_folder import RunFolder
from edgeseg.training.sweep.space import Parameter, parse_space

OBJECTIVES = {"miou": "maximize", "latency": "minimize"}
"""What trials may be judged by, and which way is better; mIoU comes first, and is always there."""

PRUNERS = ("median", "hyperband", "none")

DEFAULT_TRIALS = 20
_RESTORE = "Restore the file, or begin a new sweep."


@dataclass(frozen=True)
class Sweep:
    """A sweep as it was asked for.

    ``trials`` is how many are to be over in the end, ``seed`` the sampler's, and ``study`` its name in a
    database that it may share with others. ``elsewhere``: that database is not the folder's own. ``command``
    is the one that began it.
    """

    base: Recipe
    space: tuple[Parameter, ...]
    objectives: tuple[str, ...]
    pruner: str
    trials: int
    seed: int
    study: str
    elsewhere: bool
    out: Path
    command: str = ""

    @property
    def document(self) -> Path:
        """The file that says what the folder is a sweep of."""
        return self.out / "sweep.json"

    @property
    def database(self) -> Path:
        """Optuna's storage, where no other is named."""
        return self.out / "study.db"

    @property
    def best(self) -> Path:
        """The winner's recipe."""
        return self.out / "best.yaml"

    def folder(self, name: str) -> RunFolder:
        """Of a trial."""
        return RunFolder(self.out / "trials" / name)

    def recipe(self, settings: Mapping[str, str]) -> Recipe:
        """The recipe of a trial.

        Raises:
            UsageError, UnknownNameError: Its values do not go together.
        """
        return make_recipe(self.base.model_dump(mode="json"), settings)

    def settings(self, params: Mapping[str, Any]) -> dict[str, str]:
        """A trial's values as Optuna keeps them to what ``--set`` takes."""
        return {each.field: each.text(params[each.field]) for each in self.space}

    def write(self) -> None:
        """``sweep.json``, from which :func:`read_sweep` makes the sweep again."""
        values = {
            "edgeseg": __version__,
            "command": self.command,
            "recipe": self.base.model_dump(mode="json"),
            "space": [str(parameter) for parameter in self.space],
            "objectives": list(self.objectives),
            "pruner": self.pruner,
            "trials": self.trials,
            "seed": self.seed,
            "study": self.study,
            "elsewhere": self.elsewhere,
        }
        write_text(self.document, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def plan_sweep(
    base: Recipe,
    space: Sequence[str],
    out: Path,
    *,
    objectives: Sequence[str] = ("miou",),
    pruner: str | None = None,
    trials: int = DEFAULT_TRIALS,
    seed: int | None = None,
    elsewhere: bool = False,
) -> Sweep:
    """A sweep whose every single value fits the recipe; nothing is written.

    Args:
        base: All that is not varied.
        space: As ``--space`` takes them.
        out: Folder of the sweep; runs go to ``out/trials/trial-NNNN``.
        objectives: ``miou``, or ``miou`` and ``latency``.
        pruner: One of ``PRUNERS``; ``None``: median, or none where there are two objectives.
        trials: How many.
        seed: Of the sampler; ``None``: the recipe's.
        elsewhere: The trials are kept in a database outside of the folder.

    Raises:
        UsageError: The space, an objective or the pruner does not fit, or a value does not fit the recipe.
        UnknownNameError: There is no such objective, pruner, model or loss.
    """
    objectives = _objectives(objectives)
    pruner = _pruner(pruner, objectives)
    if trials < 1:
        raise UsageError("--trials", expected="1 or more", found=str(trials), next_step="Correct it.")
    parameters = parse_space(space)
    _check_fields(parameters)
    seed = base.seed if seed is None else seed
    name = f"{out.name}-{uuid.uuid4().hex[:8]}"
    sweep = Sweep(base, parameters, objectives, pruner, trials, seed, name, elsewhere, out)
    recipes_to_check(sweep)
    return sweep


def read_sweep(out: Path) -> Sweep:
    """The sweep of a folder.

    Raises:
        UsageError: It holds none.
        DataError: ``sweep.json`` is damaged.
    """
    document = out / "sweep.json"
    values = read_json(document, "the sweep of this folder", _RESTORE)
    if values is None:
        raise UsageError(
            f"--resume {out}",
            expected="a folder with sweep.json",
            found="a folder without it" if out.is_dir() else "no folder",
            next_step="Name the folder that the interrupted sweep printed.",
        )
    sweep = _stored(document, values)
    if not sweep.elsewhere and not sweep.database.is_file():
        raise DataError(
            sweep.database, expected="the trials of this sweep", found="no such file", next_step=_RESTORE
        )
    return sweep


def _stored(document: Path, values: dict[str, Any]) -> Sweep:
    try:
        return Sweep(
            make_recipe(values["recipe"]),
            parse_space(values["space"]),
            tuple(values["objectives"]),
            values["pruner"],
            values["trials"],
            values["seed"],
            values["study"],
            values["elsewhere"],
            document.parent,
            values["command"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            document,
            expected="what edgeseg sweep wrote",
            found=f"something else ({error!r})",
            next_step=_RESTORE,
        ) from error


def recipes_to_check(sweep: Sweep) -> list[list[Recipe]]:
    """For each value of each field, of ranges the two ends: recipes, one of which must fit at the least.

    A value may need that of another field with it, as a larger ``crop`` a larger ``size``: it stands with the
    base's values, and with the others' first and last ones.

    Raises:
        UsageError, UnknownNameError: A value is in no recipe that is one.
    """
    others = [{each.field: each.extremes()[end] for each in sweep.space} for end in (0, -1)]
    return [
        _valid(sweep, [{**more, parameter.field: value} for more in ({}, *others)])
        for parameter in sweep.space
        for value in parameter.extremes()
    ]


def _valid(sweep: Sweep, candidates: Sequence[dict[str, str]]) -> list[Recipe]:
    recipes, refusals = [], []
    for settings in candidates:
        try:
            recipes.append(sweep.recipe(settings))
        except UsageError as error:
            refusals.append(error)
    if not recipes:
        raise refusals[0]
    return recipes


def _check_fields(space: Sequence[Parameter]) -> None:
    """Scores of other images cannot be compared."""
    fixed = [each.field for each in space if each.field in ("data", "val_split")]
    if fixed:
        raise UsageError(
            "--space",
            expected="fields that leave the images which trials are scored on as they are",
            found=", ".join(fixed),
            next_step="Begin a sweep for each.",
        )


def _objectives(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in OBJECTIVES:
            raise UnknownNameError.of("objective", name, OBJECTIVES)
    if "miou" not in names or len({*names}) < len(names):
        raise UsageError(
            "--objective",
            expected="miou, or miou,latency",
            found=",".join(names) or "none",
            next_step="Correct it.",
        )
    return tuple(sorted(names, key=list(OBJECTIVES).index))


def _pruner(name: str | None, objectives: Sequence[str]) -> str:
    several = len(objectives) > 1
    if name is None:
        return "none" if several else "median"
    if name not in PRUNERS:
        raise UnknownNameError.of("pruner", name, PRUNERS)
    if several and name != "none":
        raise UsageError(
            f"--pruner {name}",
            expected="none with two objectives, for a trial that is behind in one may lead in the other",
            found=",".join(objectives),
            next_step="Leave one of them out.",
        )
    return name


def settings_text(settings: Mapping[str, Any]) -> str:
    """``learning_rate=0.00123, loss=total``: for people, so fractions are short."""
    return ", ".join(f"{field}={short(value)}" for field, value in settings.items())


def short(value: Any) -> str:
    """A setting for people: of a fraction three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
