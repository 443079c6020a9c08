"""The options of ``edgeseg export``, one type each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CheckpointArgument = Annotated[
    Path, typer.Argument(help="A .keras file, for instance RUN/weights/best.keras.")
]
TargetOption = Annotated[str, typer.Option(help="Hardware: arm, x86 or jetson.")]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        help="fp32, fp16, bf16 or int8; or auto: what is fastest on this machine within the budget, in "
        "whichever format.  [default: arm int8, x86 fp32, jetson fp16]"
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format", help="litert, onnx or openvino.  [default: x86: the fastest here; else the target's]"
    ),
]
MeasureOption = Annotated[
    bool,
    typer.Option(
        "--measure/--no-measure",
        help="Without --format, try those that fit on this machine, where it is of the target's kind.",
    ),
]
OutputOption = Annotated[str, typer.Option(help="What the graph gives: mask, logits or mask+confidence.")]
DataOption = Annotated[
    str | None, typer.Option(help="Dataset to calibrate and measure on.  [default: the one trained on]")
]
SplitOption = Annotated[
    str | None,
    typer.Option(help="Split that accuracy is measured on.  [default: the one the run was validated on]"),
]
SamplesOption = Annotated[int, typer.Option(help="Samples of it at most, spread evenly.")]
CalibrationOption = Annotated[
    int, typer.Option(help="Training images that int8 is calibrated on, spread evenly.")
]
MaxDropOption = Annotated[
    float, typer.Option(help="Points of mIoU that the model may lose; over it, exit 5 and no bundle.")
]
MaxClassDropOption = Annotated[float, typer.Option(help="Points of IoU that any class may lose, likewise.")]
MaxLatencyOption = Annotated[
    float | None,
    typer.Option(
        help="Milliseconds that an inference may take on this machine, by its median; over it, exit 6 and "
        "nothing is written.",
        metavar="MS",
    ),
]
QatStepsOption = Annotated[
    int,
    typer.Option(
        help="Steps of fine-tuning under the rounding of int8, where cheaper ways are not enough; 0: without."
    ),
]
OutOption = Annotated[Path, typer.Option(help="Folder for the bundle, or the bundle itself (NAME.edgeseg).")]
NameOption = Annotated[
    str | None,
    typer.Option(help="The bundle's name, where --out is a folder.  [default: MODEL-TARGET-PRECISION]"),
]
SizeOption = Annotated[
    str | None, typer.Option(help="Input size, HxW, where another package's model leaves it open.")
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        help="labels.yaml with the classes of another package's model in the order of its ids.  "
        "[default: the dataset's]"
    ),
]
DlaOption = Annotated[
    bool, typer.Option("--dla", help="For jetson: say which layers would leave a DLA, and why.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")]
