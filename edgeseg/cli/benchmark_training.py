"""``edgeseg benchmark-training``: the speed of a training step, and of the loop around it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.benchmarks.host import Host
    from edgeseg.benchmarks.training_speed import TrainingSpeedResult
    from edgeseg.training.recipe import Recipe

_DATA = "synthetic:train=128,val=1"


def benchmark_training(
    data: Annotated[
        str | None,
        typer.Option(help=f"Dataset, as 'edgeseg train' takes it.  [default: the recipe's, or {_DATA}]"),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model; 'edgeseg info' lists them.")] = None,
    loss: Annotated[str | None, typer.Option(help="Loss; 'edgeseg info' lists them.")] = None,
    size: Annotated[str | None, typer.Option(help="Input size, HxW.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Images in one step.")] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--recipe", help="Start from this recipe or recipe.yaml; options win.", metavar="NAME|FILE"
        ),
    ] = None,
    resident: Annotated[
        bool | None,
        typer.Option(
            "--resident/--loaded",
            help="Data on the device and varied there, or loaded batch by batch.  [default: as it fits]",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any field of the recipe; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each part takes.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="The least that a turn takes.")] = 2.0,
    out: Annotated[Path, typer.Option(help="Where to write, without a suffix: OUT.json and OUT.md.")] = Path(
        "runs/benchmark/training-speed"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure images per second of training, and what data, loss, metric and loop cost of it.

    The whole loop takes at least an epoch a turn: --set fraction=0.2 makes it shorter. KERAS_BACKEND chooses
    the backend.
    """
    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.training_speed import HEADER, conclusion, rows, write_training_speed
    from edgeseg.cli.console import done, note, parse_settings, parse_size, print_json, print_table
    from edgeseg.training.recipe import make_recipe
    from edgeseg.training.recipes import recipe_values

    check_writable(out.parent)
    # Before anything is computed: its own work must not count as the machine's load.
    host = describe_host()
    size_given = parse_size(size) if size else None
    options = {"data": data, "model": model, "loss": loss, "size": size_given, "batch": batch}
    given = {key: value for key, value in options.items() if value is not None}
    values = {"data": _DATA, **(recipe_values(start) if start else {}), **given}
    recipe = make_recipe(values, parse_settings(settings or []))
    result = _measure(recipe, resident, rounds, seconds, host)
    write_training_speed(result, out)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table("Training", HEADER, rows(result))
        note(conclusion(result))
    done(f"{out}.json, {out}.md", f"edgeseg train --data {recipe.data} --model {recipe.model}")


def _measure(
    recipe: Recipe, resident: bool | None, rounds: int, seconds: float, host: Host
) -> TrainingSpeedResult:
    from datetime import datetime, timezone

    from edgeseg.benchmarks.training_speed import TrainingSpeedResult
    from edgeseg.cli.console import command_line, progress_bar
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg benchmark-training"):
        from edgeseg.training.data import open_dataset
        from edgeseg.training.distributed import ALONE
        from edgeseg.training.network import choose_precision
        from edgeseg.training.precision import dtype_policy
        from edgeseg.training.resident import is_resident
        from edgeseg.training.speed import PARTS, measure_training
        from edgeseg.training.training_split import training_split
    dataset = open_dataset(recipe.data)
    with progress_bar("Decoding") as advance:
        split = training_split(recipe, dataset, lambda _, finished, total: advance(finished, total))
    on_device = is_resident(recipe.resident if resident is None else resident, split, ALONE)
    precision = choose_precision(recipe, dataset.labels)
    with dtype_policy(precision), progress_bar("Measuring") as advance:
        speed = measure_training(
            recipe, split, resident=on_device, rounds=rounds, seconds=seconds, on_progress=advance
        )
    return TrainingSpeedResult(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command_line(),
        host=host,
        settings=_settings(recipe, len(split), precision, on_device),
        seconds={part: getattr(speed, part) for part in PARTS},
        medians={part: speed.seconds(part) for part in PARTS},
        loss_share=speed.loss_share,
        loop_share=speed.loop_share,
    )


def _settings(recipe: Recipe, images: int, precision: str, resident: bool) -> dict[str, Any]:
    import keras

    from edgeseg.training.precision import device_name

    return {
        "model": recipe.model,
        "size": f"{recipe.height}x{recipe.width}",
        "batch": recipe.batch,
        "loss": recipe.loss,
        "precision": precision,
        "backend": keras.backend.backend(),
        "device": device_name(),
        "data": "on the device" if resident else "loaded",
        "images": images,
    }
