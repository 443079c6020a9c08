"""``edgeseg train``: from labelled images to a run folder with the best model."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.training.fit import TrainResult
    from edgeseg.training.observer import Observer
    from edgeseg.training.recipe import Recipe


def train(
    data: Annotated[str | None, typer.Option(help="Dataset: camvid:PATH, folder:PATH, synthetic, …")] = None,
    extra_data: Annotated[
        str | None,
        typer.Option(help="Another dataset of the same classes: its train split is trained on too."),
    ] = None,
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
    ray: Annotated[
        str | None,
        typer.Option(
            help="Train on this Ray cluster: HOST:PORT or auto; the run folder has to be on storage that "
            "all its machines share.",
            metavar="ADDRESS",
        ),
    ] = None,
    ray_workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes on the cluster.  [default: one for each GPU, else each machine]"),
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
    from edgeseg.cli.console import done, parse_settings, parse_size, print_json
    from edgeseg.cli.recipe_options import recipe_from

    values: dict[str, Any] = {
        "data": data,
        "extra_data": extra_data,
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
        made = recipe_from("edgeseg train", recipe, given, parse_settings(settings or []))
        folder = out or Path("runs", "train", f"{made.model}-{made.data.partition(':')[0]}")
    trackers = _trackers(tensorboard, mlflow)
    result: TrainResult | None
    if ray or ray_workers:
        _check_one_way(ray, workers, worker_index)
        result = _train_on_ray(str(ray), ray_workers, made, folder, trackers)
    else:
        addresses = [address.strip() for address in workers.split(",")] if workers else []
        result = _train(made, folder, trackers, (addresses, worker_index))
    if result is None:
        return
    if json:
        print_json({"run_folder": str(result.folder.path), **result.summary})
    trained_on = quote(result.recipe.data)
    done(result.folder.path, f"edgeseg export {result.folder.best} --target arm --data {trained_on}")


def _train(
    recipe: Recipe | None, folder: Path, trackers: list[Observer], workers: tuple[list[str], int | None]
) -> TrainResult | None:
    """Start a recipe in a folder, or without one continue the run there; only the chief has a result."""
    from edgeseg.cli.console import console
    from edgeseg.cli.training_half import training_half

    _check_paths(recipe, folder)
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


def _check_paths(recipe: Recipe | None, folder: Path) -> None:
    """What training would say too, but seconds later: after importing Keras, and after the workers met."""
    from edgeseg.training.checkpoint_info import check_file
    from edgeseg.training.data import check_spec
    from edgeseg.training.run_folder import RunFolder

    if recipe is None:
        RunFolder.existing(folder)
        return
    for spec in filter(None, (recipe.data, recipe.extra_data)):
        check_spec(spec)
    if recipe.teacher:
        check_file(Path(recipe.teacher))


def _train_on_ray(
    address: str, workers: int | None, recipe: Recipe | None, folder: Path, trackers: list[Observer]
) -> TrainResult:
    from edgeseg.cli.console import note
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg train"):
        from edgeseg.training.on_ray import RayRun, train_on_ray
    note(f"The first worker writes each epoch to metrics.csv in {folder}")
    return train_on_ray(address, workers, RayRun(recipe, folder.resolve(), trackers))


def _check_one_way(ray: str | None, workers: str | None, worker_index: int | None) -> None:
    from edgeseg.errors import UsageError

    if ray is None:
        raise UsageError(
            "--ray-workers",
            expected="--ray beside it",
            found="no cluster",
            next_step="Name it: --ray HOST:PORT",
        )
    if workers or worker_index is not None:
        raise UsageError(
            "--ray",
            expected="no --workers and no --worker-index beside it",
            found="both",
            next_step="Leave them out: Ray starts the workers and tells them of each other.",
        )


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
