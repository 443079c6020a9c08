"""``edgeseg generate``: labelled images made by a network that learnt from a dataset's."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseg.cli.data import Data

if TYPE_CHECKING:
    from edgeseg.training.generative.folder import GameRow, GenerateFolder
    from edgeseg.training.generative.settings import Settings


def generate(
    name: Annotated[
        str, typer.Argument(help="pix2pix: images of recomposed masks; sagan: images with their masks.")
    ],
    data: Data,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/generate/NAME-DATASET.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Times that each image is seen.")] = 100,
    size: Annotated[str, typer.Option(help="Size of what is learnt and made, HxW.")] = "256x256",
    count: Annotated[int, typer.Option(min=1, help="Pairs to make for training.")] = 200,
    batch: Annotated[int, typer.Option(min=1, help="Images in one step.")] = 8,
    channels: Annotated[int, typer.Option(min=1, help="Width of the networks' outermost layers.")] = 32,
    split: Annotated[str, typer.Option(help="The part of the dataset that is learnt from.")] = "train",
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order, noise and masks.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document.")] = False,
) -> None:
    """Train a GAN on a dataset and write new labelled images, as a folder that --extra-data takes.

    The same command continues a run that was cut off; with more --epochs it trains on.
    """
    from edgeseg.cli.console import done, parse_size, print_json
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg generate"):
        from edgeseg.training.generative.folder import GenerateFolder
        from edgeseg.training.generative.settings import make_settings
    settings = make_settings(
        {
            "gan": name,
            "data": data,
            "split": split,
            "size": parse_size(size),
            "epochs": epochs,
            "batch": batch,
            "channels": channels,
            "count": count,
            "seed": seed,
        }
    )
    folder = GenerateFolder(out or Path("runs", "generate", f"{name}-{data.partition(':')[0]}"))
    summary = _generate(settings, folder)
    if json:
        print_json({"folder": str(folder.path), **summary})
    extra = quote(f"folder:{folder.pairs}")
    done(folder.pairs, f"edgeseg train --data {quote(data)} --extra-data {extra}")


def _generate(settings: Settings, folder: GenerateFolder) -> dict[str, Any]:
    from edgeseg.cli.console import command_line, console, progress_bar
    from edgeseg.training.generative.run import Watch, generate

    def said(row: GameRow) -> None:
        console.print(
            f"Epoch {row.epoch}/{settings.epochs}  generator {row.generator:.3f}  "
            f"discriminator {row.discriminator:.3f}  {row.seconds:.0f} s",
            markup=False, soft_wrap=True,
        )  # fmt: skip

    try:
        with progress_bar("Generating") as advance:
            return generate(settings, folder, Watch(advance, advance, advance, said))
    except KeyboardInterrupt:
        console.print(f"Continue with: {command_line()}", markup=False, soft_wrap=True)
        raise
