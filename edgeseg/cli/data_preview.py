"""``edgeseg data preview``: a picture of what the model will see."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.data import Data

if TYPE_CHECKING:
    from edgeseg.training.recipe import Recipe

_VARIANTS = 4


def preview(
    data: Data,
    recipe: Annotated[
        str | None, typer.Option(help="Take it all from this recipe or recipe.yaml.", metavar="NAME|FILE")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input size, HxW.")] = None,
    crop: Annotated[str | None, typer.Option(help="Size of the windows that are trained on, HxW.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="Any field of the recipe, for instance augment.rotate=10.", metavar="KEY=VALUE"
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Images, taken from all over the training split.")] = 4,
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("preview.png"),
) -> None:
    """Draw training images with their labels, and beside each what augmentation makes of it.

    With the recipe of a run it shows how that run varies its images. What is ignored is striped.
    """
    from edgeseg.atomic import check_writable
    from edgeseg.cli.console import done, track
    from edgeseg.training.data import open_dataset
    from edgeseg.training.preview import plot_preview, preview_rows

    made = _recipe(data, recipe, size, crop, settings or [])
    check_writable(out.parent)
    dataset = open_dataset(made.data)
    listed = preview_rows(dataset, made, count, _VARIANTS)
    rows = list(track(listed, "Reading", min(count, len(dataset.items(made.train_split)))))
    plot_preview(out, dataset.labels, rows, _title(made))
    done(out, f"edgeseg train --data {quote(data)}" + (f" --recipe {recipe}" if recipe else ""))


def _recipe(data: str, start: str | None, size: str | None, crop: str | None, settings: list[str]) -> Recipe:
    """The values of the recipe to start from, over them the options, over them ``--set``."""
    from edgeseg.cli.console import parse_settings, parse_size
    from edgeseg.training.recipe import make_recipe
    from edgeseg.training.recipes import recipe_values

    values = {**(recipe_values(start) if start else {}), "data": data}
    if size:
        values["size"] = parse_size(size)
    if crop:
        values["crop"] = parse_size(crop, "--crop")
    return make_recipe(values, parse_settings(settings))


def _title(recipe: Recipe) -> str:
    name, split = recipe.data.partition(":")[0], recipe.train_split
    crop = f", cropped to {recipe.crop[0]}x{recipe.crop[1]}" if recipe.crop else ""
    return f"{name}, {split}, at {recipe.height}x{recipe.width}{crop}"
