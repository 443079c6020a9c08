"""Arguments and options that more than one verb has, so that they are named and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BundleArgument = Annotated[Path, typer.Argument(help="A bundle, NAME.edgeseg.")]
DestinationArgument = Annotated[
    Path, typer.Argument(help="The folder that edgeseg install keeps on the vehicle.", metavar="DEST")
]
RuntimeOption = Annotated[
    str | None, typer.Option(help="Runtime to use.  [default: the bundle's first that is installed]")
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="Which of the bundle's models to run.  [default: its first]")
]
PixelScaleOption = Annotated[
    str | None,
    typer.Option(
        "--pixel-scale",
        "--input-scale",
        help="Only for a model of another package: how its training scaled pixels, "
        "for instance imagenet, minus1to1, 0to1 or none.",
        metavar="NAME",
    ),
]
ChannelOrderOption = Annotated[
    str | None,
    typer.Option(
        help="Likewise: the order of its colours, rgb or bgr.  [default: bgr with scale caffe, else rgb]"
    ),
]
TrustedKeysOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--require-signature",
        help="Accept the bundle only if this public key signed it; repeat it for several.  "
        "[default: signed or not]",
        metavar="PUBLIC.pem",
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads of one inference.  [default: all cores, at most 4]")
]
