"""What a comparison trains: one recipe, changed in what is compared and in the seed, and in nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeseg.errors import UsageError
from edgeseg.training.documents import read_json
from edgeseg.training.recipe import Recipe, make_recipe, read_recipe
from edgeseg.training.run_folder import RunFolder

Subject = Literal["loss", "model"]
"""The field of the recipe that a comparison is about."""

PLURAL: dict[Subject, str] = {"loss": "losses", "model": "models"}

SOURCE_LOSSES = ("dice", "iou", "tversky", "focal_tversky", "total")
"""The five losses of the source notebook's comparison, which compiled every run with the same one."""

DEFAULT_LOSSES = (*SOURCE_LOSSES, "cross_entropy", "lovasz_softmax", "focal")

# A variant's name becomes a folder's.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class PlannedRun:
    """One training: the variant that it belongs to, its whole recipe, and where it goes."""

    variant: str
    recipe: Recipe
    folder: RunFolder

    @property
    def name(self) -> str:
        return self.folder.path.name


@dataclass(frozen=True)
class Comparison:
    """All runs in the order in which they are trained: every variant of the first seed comes first.

    Interrupted, it still compares like with like. ``variants`` are names to the settings, as ``--set`` takes
    them, in which each differs from ``base``.
    """

    subject: Subject
    base: Recipe
    variants: Mapping[str, Mapping[str, str]]
    seeds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]
    out: Path

    @property
    def document(self) -> Path:
        """The file that holds the result, and that says what the folder was made with."""
        return self.out / "comparison.json"

    def common(self) -> dict[str, Any]:
        """The recipe's fields that all runs share, as plain JSON values."""
        return self.base.model_dump(mode="json", exclude={self.subject, "seed", "workers"})


def plan_comparison(
    subject: Subject,
    base: Recipe,
    names: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    variants: Mapping[str, Mapping[str, str]] | None = None,
) -> Comparison:
    """The runs of a comparison; nothing is written.

    Args:
        subject: What differs between the runs.
        base: All else. Its own ``subject`` and seed do not matter.
        names: Losses or models.
        seeds: Each variant is trained once with each.
        out: Folder of the comparison; runs go to ``out/runs/NAME-seedN``.
        variants: Name to more settings, as ``--set`` takes them: of one of ``names``, or of a variant of its
            own.

    Raises:
        UsageError: A name or seed is there twice, nothing is left to compare, or a setting does not fit.
        UnknownNameError: There is no such loss or model.
    """
    _check_distinct(f"--{PLURAL[subject]}", names)
    _check_distinct("--seeds", seeds)
    settings: dict[str, dict[str, str]] = {name: {subject: name} for name in names}
    for name, more in (variants or {}).items():
        _check_variant(name, more, {*settings.get(name, {}), "seed"})
        settings[name] = {**settings.get(name, {}), **more}
    values = base.model_dump(mode="json")
    runs = [
        PlannedRun(name, make_recipe({**values, "seed": seed}, changes), _folder(out, name, seed))
        for seed in seeds
        for name, changes in settings.items()
    ]
    return Comparison(subject, base, settings, tuple(seeds), tuple(runs), out)


def check_same_comparison(comparison: Comparison) -> None:
    """Refuse to go on in a folder whose runs were made by another recipe.

    More variants and more seeds are no other recipe. The tables hold those that are asked for now.

    Raises:
        UsageError: The folder holds a comparison of something else, or of another recipe.
        DataError: Its ``comparison.json`` is damaged.
    """
    expected = "the comparison that this folder holds"
    earlier = read_json(comparison.document, expected, "Delete it: it is made anew of the runs here.")
    if earlier and earlier.get("subject") != comparison.subject:
        raise _other(comparison.out, f"one that compares by {earlier.get('subject')}")
    if earlier:
        _refuse_differences(comparison.out, "another recipe", earlier.get("recipe", {}), comparison.common())
    for run in comparison.runs:
        if run.folder.recipe.is_file():
            theirs = _plain(make_recipe(read_recipe(run.folder.recipe)))
            _refuse_differences(comparison.out, f"another recipe of {run.name}", theirs, _plain(run.recipe))


def _folder(out: Path, name: str, seed: int) -> RunFolder:
    return RunFolder(out / "runs" / f"{name}-seed{seed}")


def _check_distinct(option: str, values: Sequence[object]) -> None:
    if values and len({*values}) == len(values):
        return
    raise UsageError(
        option,
        expected="one or more, each of them once",
        found=", ".join(map(str, values)) or "none",
        next_step="Correct the list.",
    )


def _check_variant(name: str, settings: Mapping[str, str], taken: set[str]) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--variant {name}",
            expected="a name of letters, digits, '_', '.' and '-', for it becomes a folder's",
            found=repr(name),
            next_step="Choose another name.",
        )
    if taken & {*settings}:
        raise UsageError(
            f"--variant {name}",
            expected=f"other fields than {' and '.join(sorted(taken))}, which the comparison sets itself",
            found=", ".join(sorted(taken & {*settings})),
            next_step="Leave it out, or give the variant a name of its own.",
        )


def _plain(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude={"workers"})


def _refuse_differences(out: Path, what: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    different = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    if different:
        changes = "; ".join(f"{key} was {theirs.get(key)} and is {ours.get(key)} now" for key in different)
        raise _other(out, f"{what}: {changes}")


def _other(out: Path, found: str) -> UsageError:
    return UsageError(
        f"--out {out}",
        expected="a new folder, or one whose runs were trained with this recipe",
        found=found,
        next_step="Name another folder with --out, or give the recipe as it was.",
    )
