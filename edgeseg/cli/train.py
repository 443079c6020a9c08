"""``edgeseg train``: from labelled images to a run folder with the best model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.training.fit import TrainResult
    from edgeseg.training.observer import Observer
    from edgeseg.training.recipe import Recipe


def train(
    data: Annotated[str | None, typer.Option(help="Dataset: camvid:PATH, folder:PATH, synthetic, …")] = None,
    model: Annotated[str | None, typer.Option(help="Model; 'edgeseg info' lists them.")] = None,
    loss: Annotated[str | None, typer.Option(help="Loss; 'edgeseg info' lists them.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times that each image is seen.")] = None,
    size: Annotated[str | None, typer.Option(help="Input size, HxW.")] = None,
    crop: Annotated[str | None, typer.Option(help="Train on windows of this size, HxW.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images in one step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="imagenet (Keras downloads them), a .h5 file, or none.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="1: the model sees brightness only; 3: colour.", metavar="1|3")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Also learn from this .keras file's logits.", metavar="FILE")
    ] = None,
    ema: Annotated[float | None, typer.Option(help="Keep the weights' moving average; e.g. 0.99.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Train on this share of the images.")] = None,
    no_augment: Annotated[bool, typer.Option("--no-augment", help="Do not vary the images.")] = False,
    recipe: Annotated[
        str | None,
        typer.Option(help="Start from this recipe or recipe.yaml; options win.", metavar="NAME|FILE"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any field of the recipe; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default: runs/train/MODEL-DATASET.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder as it was.")] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="Train on these machines together, the same list on each.", metavar="HOST:PORT,…"),
    ] = None,
    worker_index: Annotated[
        int | None, typer.Option(help="This machine's place in --workers, from 0.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write RUN/tensorboard for TensorBoard.")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option(help="Also report to this MLflow server or store.", metavar="URI")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
) -> None:
    """Train a model. All settings are kept as recipe.yaml in the run folder; --set reaches every one."""
    from edgeseg.cli.console import done, parse_size, print_json

    values: dict[str, Any] = {
        "data": data,
        "model": model,
        "loss": loss,
        "epochs": epochs,
        "size": parse_size(size) if size else None,
        "crop": parse_size(crop, "--crop") if crop else None,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
        "encoder_weights": encoder_weights,
        "input_channels": channels,
        "teacher": teacher,
        "ema": ema,
        "fraction": fraction,
        "no_augment": no_augment or None,
    }
    given = {key: value for key, value in values.items() if value is not None}
    if resume:
        _refuse_changes(given, recipe=recipe, set=settings, out=out)
        made, folder = None, resume
    else:
        made = _recipe(recipe, given, settings or [])
        folder = out or Path("runs", "train", f"{made.model}-{made.data.partition(':')[0]}")
    addresses = [address.strip() for address in workers.split(",")] if workers else []
    result = _train(made, folder, _trackers(tensorboard, mlflow), (addresses, worker_index))
    if result is None:
        return
    if json:
        print_json({"run_folder": str(result.folder.path), **result.summary})
    done(result.folder.path, f"edgeseg export {result.folder.best} --target arm --data {result.recipe.data}")


def _recipe(start: str | None, given: dict[str, Any], settings: list[str]) -> Recipe:
    """The values of the recipe to start from, over them the options, over them ``--set``."""
    from edgeseg.cli.console import parse_settings
    from edgeseg.errors import UsageError
    from edgeseg.training.data.augment import AugmentConfig
    from edgeseg.training.recipe import make_recipe
    from edgeseg.training.recipes import recipe_values

    values = {**(recipe_values(start) if start else {}), **given}
    if values.pop("no_augment", False):
        values["augment"] = AugmentConfig.none().model_dump()
    options = {key: values.pop(key) for key in ("encoder_weights", "input_channels") if key in values}
    if options:
        values["model_options"] = {**(values.get("model_options") or {}), **options}
    parsed = parse_settings(settings)
    if "data" not in {**values, **parsed}:
        raise UsageError(
            "--data",
            expected="a dataset",
            found="none",
            next_step="For instance: edgeseg train --data synthetic, or --data folder:PATH.",
        )
    return make_recipe(values, parsed)


def _train(
    recipe: Recipe | None, folder: Path, trackers: list[Observer], workers: tuple[list[str], int | None]
) -> TrainResult | None:
    """Start a recipe in a folder, or without one continue the run there; only the chief has a result."""
    from edgeseg.cli.console import console
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg train"):
        from edgeseg.training.distributed import connect
        from edgeseg.training.fit import resume, train
    from edgeseg.cli.training_progress import TrainingProgress

    cluster = connect(*workers)
    progress = TrainingProgress()
    try:
        with progress, cluster.watched(), cluster.run_folder(folder) as own:
            observers = [progress, *trackers] if cluster.is_chief else []
            result = train(recipe, own, observers, cluster) if recipe else resume(own, observers, cluster)
    except KeyboardInterrupt:
        if progress.run:
            path = progress.run.folder.path
            console.print(f"Continue with: edgeseg train --resume {path}", markup=False, soft_wrap=True)
        raise
    return result if cluster.is_chief else None


def _trackers(tensorboard: bool, mlflow: str | None) -> list[Observer]:
    from edgeseg.training.tracking import MLflowTracker, TensorBoardTracker

    return [*([TensorBoardTracker()] if tensorboard else []), *([MLflowTracker(mlflow)] if mlflow else [])]


# Where an option is not called like what it sets.
_OPTIONS = {"input_channels": "channels"}


def _refuse_changes(given: dict[str, Any], **others: object) -> None:
    from edgeseg.errors import UsageError

    changed = [*given, *(name for name, value in others.items() if value is not None)]
    if changed:
        raise UsageError(
            "--resume",
            expected="no option that changes the run, for it continues with its own recipe",
            found=", ".join(f"--{_OPTIONS.get(name, name).replace('_', '-')}" for name in changed),
            next_step="Leave them out, or start a new run with: edgeseg train --recipe RUN/recipe.yaml",
        )
