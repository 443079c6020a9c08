"""``edgeseg import-weights``: another package's trained model as one of edgeseg's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.labels import LabelSet


def import_weights(
    file: Annotated[
        Path, typer.Argument(help="Weights of a segmentation_models.Unet: .h5, .weights.h5 or .keras.")
    ],
    encoder: Annotated[
        str, typer.Option(help="Its backbone_name there, for instance efficientnetb3 or resnet34.")
    ],
    size: Annotated[str, typer.Option(help="Input size, HxW.")],
    out: Annotated[Path, typer.Option(help="The .keras file to write.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="labels.yaml with its classes in order; 'evaluate' then knows them."),
    ] = None,
    pixel_scale: Annotated[
        str | None,
        typer.Option(
            help="How its training scaled pixels: imagenet, minus1to1, 0to1 or none.  "
            "[default: get_preprocessing of the backbone]"
        ),
    ] = None,
) -> None:
    """Load a segmentation_models.Unet into edgeseg's unet, to be exported and, with --labels, evaluated."""
    import shlex

    from edgeseg.cli.console import done, parse_size
    from edgeseg.cli.training_half import training_half

    height, width = parse_size(size)
    _check_out(out)
    with training_half("edgeseg import-weights"):
        from edgeseg.training.data.labels_file import read_labels
        from edgeseg.training.import_weights import import_unet
    label_set = read_labels(labels, labels.stem) if labels else None
    imported = import_unet(file, encoder, height, width, pixel_scale=pixel_scale)
    _check_labels(labels, label_set, imported.model.output_shape[-1])
    _save(imported, out, label_set)
    done(out, shlex.join(["edgeseg", "export", str(out), "--data", "DATASET"]))


def _check_out(out: Path) -> None:
    from edgeseg.errors import UsageError

    if out.suffix != ".keras":
        raise UsageError(
            "--out", expected="the name of a .keras file", found=str(out), next_step="Let it end in .keras."
        )


def _check_labels(file: Path | None, labels: LabelSet | None, classes: int) -> None:
    from edgeseg.errors import DataError

    if labels is not None and len(labels) != classes:
        raise DataError(
            str(file),
            expected=f"{classes} classes, as many as the model gives",
            found=str(len(labels)),
            next_step="Name all of its classes in order; a model of one class has the rest as class 0.",
        )


def _save(imported: Any, out: Path, labels: LabelSet | None) -> None:
    from edgeseg import __version__
    from edgeseg.atomic import atomic_file
    from edgeseg.training.checkpoint import save_checkpoint
    from edgeseg.training.checkpoint_info import CheckpointInfo
    from edgeseg.training.import_weights import MODEL

    if labels is None:
        with atomic_file(out) as staging:
            imported.model.save(staging)
        return
    height, width = imported.model.input_shape[1:3]
    info = CheckpointInfo(
        model=MODEL,
        recipe={"model": MODEL, "model_options": imported.options},
        recipe_hash="unknown",
        labels=labels.to_dict(),
        height=height,
        width=width,
        dataset="",
        dataset_fingerprint="unknown",
        epoch=0,
        val_miou=None,
        edgeseg_version=__version__,
    )
    save_checkpoint(imported.model, out, info)
