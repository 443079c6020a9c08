"""``edgeseg bundle``: another project's model file, wrapped in a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.export_options import JsonOption, OutOption
from edgeseg.cli.options import ChannelOrderOption, PixelScaleOption
from edgeseg.export import defaults

if TYPE_CHECKING:
    from edgeseg.bundle.manifest import Manifest


def bundle(
    file: Annotated[Path, typer.Argument(help="A .tflite or .onnx file of one image to one class map.")],
    labels: Annotated[Path, typer.Option(help="labels.yaml with its classes in the order of its ids.")],
    pixel_scale: PixelScaleOption = None,
    channel_order: ChannelOrderOption = None,
    size: Annotated[str | None, typer.Option(help="Input size, HxW, where the file leaves it open.")] = None,
    output_name: Annotated[
        str | None, typer.Option(help="The output that gives the classes, where there are several.")
    ] = None,
    output_layout: Annotated[
        str | None, typer.Option(help="NHWC or NCHW, where the output's shape can be read both ways.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="With two classes and one channel: above it a pixel is of the second class."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Hardware: arm, x86 or jetson.  [default: .tflite arm, .onnx x86]")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Dataset to take golden frames of and to score.  [default: drawn frames, no score]"
        ),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Split of it.  [default: val]")] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Samples of it at most, spread evenly.")
    ] = defaults.SAMPLES,
    out: OutOption = defaults.OUT,
    name: Annotated[
        str | None,
        typer.Option(help="The bundle's name, where --out is a folder.  [default: FILE-TARGET-PRECISION]"),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Wrap a foreign .tflite or .onnx model in a bundle, and prove that wrapping it changed nothing."""
    import shlex

    from edgeseg.cli.console import done, note, parse_size, print_json, progress_bar
    from edgeseg.export.wrapping.bundle import WrapOptions, bundle_model
    from edgeseg.export.wrapping.reading import Asked
    from edgeseg.training.data.labels_file import read_labels

    asked = Asked(
        pixel_scale=pixel_scale,
        channel_order=channel_order,
        size=parse_size(size) if size else None,
        output_name=output_name,
        output_layout=output_layout,
        threshold=threshold,
    )
    options = WrapOptions(asked, target, data, split, samples, out, name)
    result = bundle_model(file, read_labels(labels, labels.stem), options, progress_bar)
    if json_:
        print_json(result.manifest.model_dump(mode="json"))
    else:
        _print(result.manifest)
    for text in [*result.notes, result.manifest.build.note]:
        note(text)
    verify = ["edgeseg", "verify", str(result.path), "--against", str(file)]
    verify += ["--data", data] if data else []
    done(result.path, shlex.join(verify))


def _print(manifest: Manifest) -> None:
    from edgeseg.cli.console import print_table
    from edgeseg.tables import points

    model = manifest.models[0]
    wrapping = model.wrapping
    if wrapping is None:
        return
    accuracy = wrapping.accuracy
    print_table(
        f"{manifest.name}: {wrapping.file}, wrapped",
        ("", "as read and measured"),
        [
            ("input", f"{wrapping.input}, {wrapping.channel_order}, pixels {wrapping.pixel_scale}"),
            ("output", f"{wrapping.output_name}: {wrapping.output}"),
            ("same as bare", f"{100 * wrapping.agreement:.3f} % of pixels in {wrapping.frames} frames"),
            (
                "mIoU",
                f"{points(accuracy.miou)} on {accuracy.samples} samples" if accuracy else "not measured",
            ),
        ],
    )
