"""``edgeseg sweep``: looking for the best values of a recipe's fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.training.sweep.on_ray import Cluster
    from edgeseg.training.sweep.plan import Sweep
    from edgeseg.training.sweep.results import Results

_VERB = "edgeseg sweep"


def sweep(
    more: Annotated[
        list[str] | None, typer.Argument(help="More of --space.", metavar="[FIELD=VALUES]...")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            help="A field of the recipe and what it may be: lr=1e-4..1e-2:log, batch=4..16:step=4, "
            "loss=total,focal_tversky. May be repeated, and others may follow it.",
            metavar="FIELD=VALUES",
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Dataset: camvid:PATH, folder:PATH, synthetic, …")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Start from this recipe or recipe.yaml; options win.", metavar="NAME|FILE"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model; 'edgeseg info' lists them.")] = None,
    loss: Annotated[str | None, typer.Option(help="Loss; 'edgeseg info' lists them.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times that each image is seen.")] = None,
    size: Annotated[str | None, typer.Option(help="Input size, HxW.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images in one step.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(help="imagenet (Keras downloads them), a .h5 file, or none.")
    ] = None,
    fraction: Annotated[float | None, typer.Option(help="Train on this share of the images.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any field of the recipe, for all trials; may be repeated.", metavar="KEY=VALUE"
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="miou, or miou,latency: also the int8 bundle's latency on this machine.  [default: miou]"
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="How many are to be over in the end.  [default: 20]")
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            help="What stops a trial that falls behind: median, hyperband or none.  [default: median; none "
            "with two objectives]"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the sampler.  [default: the recipe's]")] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="A database for the trials.  [default: study.db in the folder]", metavar="URL"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/sweep/MODEL-DATASET.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the sweep in this folder.")] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Spread the trials over this Ray cluster: auto, local or HOST:PORT.", metavar="ADDRESS"
        ),
    ] = None,
    trial_cpus: Annotated[
        float | None, typer.Option(min=0, help="With --ray: CPUs of a trial.  [default: 1]")
    ] = None,
    trial_gpus: Annotated[
        float | None, typer.Option(min=0, help="With --ray: GPUs of a trial.  [default: 0]")
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option(help="Also report to this MLflow server or store.", metavar="URI")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Train a recipe again and again, with values of some fields that Optuna chooses, and keep the best."""
    from edgeseg.cli.console import parse_size

    given: dict[str, Any] = {
        "data": data,
        "model": model,
        "loss": loss,
        "epochs": epochs,
        "size": parse_size(size) if size else None,
        "batch": batch,
        "encoder_weights": encoder_weights,
        "fraction": fraction,
    }
    given = {key: value for key, value in given.items() if value is not None}
    varied = [*(space or []), *(more or [])]
    if resume:
        others = {"objective": objective, "pruner": pruner, "seed": seed, "out": out}
        _refuse_changes({**given, "recipe": recipe, "space": varied, "set": settings, **others})
        planned = _resumed(resume, trials, storage)
    else:
        planned = _planned(given, recipe, settings, varied, objective, pruner, trials, seed, storage, out)
    cluster = _cluster(ray, planned.objectives, trial_cpus, trial_gpus)
    _sweep(planned, storage, mlflow, cluster, json, begin=not resume)


def _planned(
    given: dict[str, Any],
    recipe: str | None,
    settings: list[str] | None,
    space: list[str],
    objective: str | None,
    pruner: str | None,
    trials: int | None,
    seed: int | None,
    storage: str | None,
    out: Path | None,
) -> Sweep:
    from edgeseg.cli.console import parse_settings
    from edgeseg.cli.recipe_options import recipe_from
    from edgeseg.training.sweep.plan import DEFAULT_TRIALS, plan_sweep

    base = recipe_from(_VERB, recipe, given, parse_settings(settings or []))
    objectives = [name.strip() for name in (objective or "miou").split(",")]
    return plan_sweep(
        base,
        space,
        out or Path("runs", "sweep", f"{base.model}-{base.data.partition(':')[0]}"),
        objectives=objectives,
        pruner=pruner,
        trials=trials or DEFAULT_TRIALS,
        seed=seed,
        elsewhere=storage is not None,
    )


def _resumed(folder: Path, trials: int | None, storage: str | None) -> Sweep:
    from dataclasses import replace

    from edgeseg.errors import UsageError
    from edgeseg.training.sweep.plan import read_sweep

    found = read_sweep(folder)
    if found.elsewhere != (storage is not None):
        raise UsageError(
            "--storage",
            expected="the database that the sweep began with" if found.elsewhere else "none, as it began",
            found="none" if found.elsewhere else "a database",
            next_step="Its trials are there and nowhere else.",
        )
    return replace(found, trials=trials) if trials else found


def _refuse_changes(given: Mapping[str, object]) -> None:
    from edgeseg.errors import UsageError

    changed = [name for name, value in given.items() if value not in (None, [])]
    if changed:
        raise UsageError(
            "--resume",
            expected="no option that changes the sweep, for it goes on as it began; --trials may be more",
            found=", ".join(f"--{name.replace('_', '-')}" for name in changed),
            next_step="Leave them out, or begin a new sweep without --resume.",
        )


def _cluster(
    address: str | None, objectives: Sequence[str], cpus: float | None, gpus: float | None
) -> Cluster | None:
    from edgeseg.errors import UsageError
    from edgeseg.ray_connection import check_reachable
    from edgeseg.training.sweep.on_ray import Cluster

    if address is None:
        if cpus is not None or gpus is not None:
            raise UsageError(
                "--trial-cpus, --trial-gpus",
                expected="--ray with them",
                found="none",
                next_step="Name the cluster's address with --ray.",
            )
        return None
    if "latency" in objectives:
        raise UsageError(
            "--ray",
            expected="--objective miou, for latencies of different machines under load cannot be compared",
            found=",".join(objectives),
            next_step="Leave --ray out, or sweep for mIoU and benchmark the best.",
        )
    check_reachable(address)
    return Cluster(address, 1 if cpus is None else cpus, gpus or 0)


def _sweep(
    planned: Sweep,
    storage: str | None,
    mlflow: str | None,
    cluster: Cluster | None,
    json: bool,
    *,
    begin: bool,
) -> None:
    from edgeseg.cli.console import console, done, print_json
    from edgeseg.cli.origin import this_origin
    from edgeseg.cli.sweep_trials import train_trials
    from edgeseg.training.sweep.report import to_dict
    from edgeseg.training.sweep.run import sweeping
    from edgeseg.training.sweep.study import Study, require_optuna

    require_optuna()
    origin = this_origin()
    found = _begun(planned, origin.command) if begin else planned
    with sweeping(found):
        study = Study(found, storage, continued=not begin)
        found.write()
        try:
            results = train_trials(study, origin, mlflow, cluster)
        except KeyboardInterrupt:
            console.print(f"Continue with: {_VERB} --resume {found.out}", markup=False, soft_wrap=True)
            raise
    if json:
        print_json(to_dict(results, origin))
    else:
        _show(results)
    _check_score(results)
    done(found.out, f"edgeseg train --recipe {found.best}")


def _begun(planned: Sweep, command: str) -> Sweep:
    """With every value tried on its model, loss and data, and with a folder of its own."""
    from dataclasses import replace

    from edgeseg.cli.training_half import check_in_training_half
    from edgeseg.training.process import call_in_process
    from edgeseg.training.run_folder import check_new_folder, new_folder
    from edgeseg.training.sweep.plan import recipes_to_check

    check_new_folder(planned.out)
    call_in_process(_VERB, check_in_training_half, _VERB, recipes_to_check(planned))
    return replace(planned, out=new_folder(planned.out), command=command)


def _show(results: Results) -> None:
    from edgeseg.cli.console import note, print_table
    from edgeseg.training.sweep.report import cells, header

    rows = [cells(results, result) for result in results.ranked()]
    plain = [[cell.replace("**", "") for cell in row] for row in rows]
    print_table("Points at label resolution, best epoch of each trial", header(results), plain)
    for result in results.trials:
        note(f"{result.name} failed: {result.trial.failure}" if result.trial.failure else None)


def _check_score(results: Results) -> None:
    from edgeseg.errors import TrainingError

    if results.best is None:
        raise TrainingError(
            results.sweep.out,
            expected="a trial with a score",
            found=", ".join(f"{count} {state}" for state, count in results.counts().items()) or "none",
            next_step="See sweep.md there for the reasons, and begin with the recipe's own values.",
        )
