"""``edgeseg compare``: one recipe trained with several losses or models, over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.training.comparison.outcome import Outcome
    from edgeseg.training.comparison.plan import Comparison, PlannedRun, Subject
    from edgeseg.training.documents import Origin
    from edgeseg.training.recipe import Recipe

app = typer.Typer(
    name="compare",
    help="Train one recipe with several losses or models and seeds, and tabulate what came of it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[
    str | None, typer.Option(help="Dataset: camvid:PATH, folder:PATH, synthetic, …; or the recipe's.")
]
Seeds = Annotated[str, typer.Option(help="Each variant is trained once with each.", metavar="N,N,…")]
Model = Annotated[str | None, typer.Option(help="Model; 'edgeseg info' lists them.")]
Loss = Annotated[str | None, typer.Option(help="Loss; 'edgeseg info' lists them.")]
Epochs = Annotated[int | None, typer.Option(help="Times that each image is seen.")]
Size = Annotated[str | None, typer.Option(help="Input size, HxW.")]
Batch = Annotated[int | None, typer.Option(help="Images in one step.")]
RecipeStart = Annotated[
    str | None,
    typer.Option("--recipe", help="Start from this recipe or recipe.yaml; options win.", metavar="NAME|FILE"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any field of the recipe, for all runs; may be repeated.", metavar="KEY=VALUE"
    ),
]
Variants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant",
        help="A field for one of them alone; another NAME is a variant of its own. May be repeated.",
        metavar="NAME:KEY=VALUE",
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder, continued where it exists; default: runs/compare/….")]
Mlflow = Annotated[
    str | None, typer.Option(help="Also report to this MLflow server or store.", metavar="URI")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


@app.command()
def losses(
    data: Data = None,
    losses: Annotated[
        str | None,
        typer.Option(
            help="Names.  [default: the source notebook's five, cross_entropy, lovasz_softmax and focal]",
            metavar="LOSS,LOSS,…",
        ),
    ] = None,
    seeds: Seeds = "1,2,3",
    model: Model = None,
    epochs: Epochs = None,
    size: Size = None,
    batch: Batch = None,
    recipe: RecipeStart = None,
    settings: Settings = None,
    variants: Variants = None,
    out: Out = None,
    mlflow: Mlflow = None,
    json: Json = False,
) -> None:
    """Train with each loss and seed, all else equal. The same command continues it where it was cut off."""
    from edgeseg.training.comparison.plan import DEFAULT_LOSSES

    given = {"data": data, "model": model, "epochs": epochs, "size": size, "batch": batch}
    names = _listed(losses) if losses is not None else list(DEFAULT_LOSSES)
    comparison = _plan("loss", names, seeds, given, recipe, settings, variants, out)
    _compare(comparison, mlflow, json)


@app.command()
def models(
    models: Annotated[str, typer.Option(help="Names.", metavar="MODEL,MODEL,…")],
    data: Data = None,
    seeds: Seeds = "1,2,3",
    loss: Loss = None,
    epochs: Epochs = None,
    size: Size = None,
    batch: Batch = None,
    recipe: RecipeStart = None,
    settings: Settings = None,
    variants: Variants = None,
    out: Out = None,
    mlflow: Mlflow = None,
    json: Json = False,
) -> None:
    """Train each model with each seed, all else equal. The same command continues it where it was cut off."""
    given = {"data": data, "loss": loss, "epochs": epochs, "size": size, "batch": batch}
    comparison = _plan("model", _listed(models), seeds, given, recipe, settings, variants, out)
    _compare(comparison, mlflow, json)


def _plan(
    subject: Subject,
    names: list[str],
    seeds: str,
    given: dict[str, Any],
    recipe: str | None,
    settings: list[str] | None,
    variants: list[str] | None,
    out: Path | None,
) -> Comparison:
    from edgeseg.cli.console import parse_settings, parse_size
    from edgeseg.cli.recipe_options import recipe_from
    from edgeseg.training.comparison.plan import PLURAL, plan_comparison

    parsed = parse_settings(settings or [])
    _refuse_compared(subject, parsed)
    options = {key: value for key, value in given.items() if value is not None}
    if "size" in options:
        options["size"] = parse_size(options["size"])
    base = recipe_from(f"edgeseg compare {PLURAL[subject]}", recipe, options, parsed)
    folder = out or Path("runs", "compare", f"{PLURAL[subject]}-{base.data.partition(':')[0]}")
    return plan_comparison(subject, base, names, _numbers(seeds), folder, _by_name(variants or []))


def _compare(comparison: Comparison, mlflow: str | None, json: bool) -> None:
    from edgeseg.cli.console import console, done, print_json
    from edgeseg.cli.origin import this_origin
    from edgeseg.training.comparison.report import to_dict

    origin = this_origin()
    try:
        outcomes = _train(comparison, origin, mlflow)
    except KeyboardInterrupt:
        console.print(f"Continue with: {origin.command}", markup=False, soft_wrap=True)
        raise
    if json:
        print_json(to_dict(comparison, outcomes, origin))
    else:
        _show(comparison, outcomes)
    best = _best(comparison, outcomes).run
    done(comparison.out, f"edgeseg export {best.folder.best} --target arm --data {best.recipe.data}")


def _train(comparison: Comparison, origin: Origin, mlflow: str | None) -> list[Outcome]:
    from edgeseg.cli.console import console
    from edgeseg.cli.training_half import check_in_training_half
    from edgeseg.training.comparison.report import write_report
    from edgeseg.training.comparison.run import run_comparison
    from edgeseg.training.comparison.tracking import MLflowComparison
    from edgeseg.training.process import call_in_process

    parent = MLflowComparison(mlflow, comparison) if mlflow else None

    def check(recipes: Sequence[Recipe]) -> None:
        each = [[recipe] for recipe in recipes]
        call_in_process("edgeseg compare", check_in_training_half, "edgeseg compare", each)

    def train(run: PlannedRun) -> None:
        number = 1 + comparison.runs.index(run)
        console.print(f"Run {number} of {len(comparison.runs)}: {run.name}", markup=False, soft_wrap=True)
        call_in_process(f"run {run.name}", _train_run, run, mlflow, parent.run_id if parent else None)

    def report(outcomes: Sequence[Outcome]) -> None:
        files = write_report(comparison, outcomes, origin)
        if parent:
            parent.reported(outcomes, files)

    with parent or nullcontext():
        return run_comparison(comparison, check, train, report)


def _train_run(run: PlannedRun, mlflow: str | None, parent: str | None) -> None:
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg compare"):
        from edgeseg.training.comparison.trial import train_run
    from edgeseg.cli.training_progress import TrainingProgress
    from edgeseg.training.tracking import MLflowTracker

    with TrainingProgress() as progress:
        train_run(run, [progress, *([MLflowTracker(mlflow, parent)] if mlflow else [])])


def _show(comparison: Comparison, outcomes: Sequence[Outcome]) -> None:
    from edgeseg.cli.console import note, print_table
    from edgeseg.training.comparison.report import headline, headline_cells
    from edgeseg.training.comparison.table import rows_of

    rows = [headline_cells(comparison, row) for row in rows_of(comparison, outcomes)]
    print_table("Points at label resolution, best epoch of each run", headline(comparison), rows)
    for outcome in outcomes:
        note(f"{outcome.run.name} has no score: {outcome.failure}" if outcome.failure else None)


def _best(comparison: Comparison, outcomes: Sequence[Outcome]) -> Outcome:
    from edgeseg.errors import TrainingError

    scored = [outcome for outcome in outcomes if outcome.failure is None]
    if not scored:
        raise TrainingError(
            comparison.out,
            expected="a run with a score",
            found=f"{len(outcomes)} that failed",
            next_step="See comparison.md there for the reasons, and begin with the recipe's learning rate.",
        )
    return max(scored, key=lambda outcome: outcome.miou or 0.0)


def _refuse_compared(subject: Subject, settings: dict[str, str]) -> None:
    from edgeseg.errors import UsageError
    from edgeseg.training.comparison.plan import PLURAL

    given = {subject, "seed"} & {*settings}
    if given:
        raise UsageError(
            "--set",
            expected="fields that all runs share",
            found=", ".join(sorted(given)),
            next_step=f"Use --{PLURAL[subject]} and --seeds for what differs, or --variant NAME:KEY=VALUE.",
        )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _numbers(text: str) -> list[int]:
    from edgeseg.errors import UsageError

    try:
        return [int(part) for part in _listed(text)]
    except ValueError as error:
        raise UsageError(
            "--seeds",
            expected="whole numbers, for instance 1,2,3",
            found=repr(text),
            next_step="Correct it.",
        ) from error


def _by_name(variants: Sequence[str]) -> dict[str, dict[str, str]]:
    from edgeseg.errors import UsageError

    settings: dict[str, dict[str, str]] = {}
    for variant in variants:
        name, colon, setting = variant.partition(":")
        key, equals, value = setting.partition("=")
        if not (name and colon and key and equals):
            raise UsageError(
                "--variant",
                expected="NAME:KEY=VALUE, for instance narrow:model_options.channels=16",
                found=repr(variant),
                next_step="Correct it.",
            )
        settings.setdefault(name, {})[key] = value
    return settings
