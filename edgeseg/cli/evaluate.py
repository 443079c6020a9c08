"""``edgeseg evaluate``: scores of a Keras model or a bundle on labelled data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseg.cli.options import TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.evaluation import Evaluation, Predictor
    from edgeseg.labels import LabelSet
    from edgeseg.metrics import Scores
    from edgeseg.training.data import Dataset

_PER_CLASS = ("IoU", "Dice", "precision", "recall")


def evaluate(
    file: Annotated[Path, typer.Argument(help="A .keras file or a bundle, NAME.edgeseg.")],
    data: Annotated[
        str | None,
        typer.Option(help="Dataset.  [default: the one trained on; of a bundle, the one measured on]"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to score.  [default: the one validated on; of a bundle, measured on]"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Score the first so many images only.")] = None,
    flip: Annotated[
        bool,
        typer.Option("--flip", help="Average with the mirrored image's prediction; .keras files only."),
    ] = False,
    worst: Annotated[int, typer.Option(min=0, help="So many of the worst images are drawn.")] = 8,
    require_signature: TrustedKeysOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/evaluate/NAME-SPLIT[-N].")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the scores as one JSON document.")] = False,
) -> None:
    """Score a model: per class, at label and model resolution, with confusion matrix and worst images."""
    from edgeseg.cli.console import done, print_json, track
    from edgeseg.evaluation import evaluate as score
    from edgeseg.export.parity import refuse_unlabelled
    from edgeseg.export.selection import chosen_split
    from edgeseg.labels import require_same_classes
    from edgeseg.training.data import check_spec, open_dataset

    _require_matplotlib()
    if data:
        check_spec(data)
    model = _open(file, flip, require_signature or None)
    dataset = open_dataset(_dataset_spec(data, model))
    require_same_classes(model.labels, dataset.labels, f"dataset {dataset.spec}")
    split = chosen_split(dataset, split, model.split, "val")
    total = len(dataset.items(split)[:limit])
    samples = track(dataset.samples(split, limit), f"Evaluating {split}", total)
    evaluation = score(model.predict, samples, model.labels, model.height, model.width)
    refuse_unlabelled(evaluation)
    scored = _Scored(file, split, model, dataset, evaluation, worst)
    folder = _write(scored, out or Path("runs", "evaluate", scored.name))
    if json:
        print_json(scored.summary())
    else:
        _show(scored)
    done(folder, _next_command(scored))


@dataclass(frozen=True)
class _Model:
    """A Keras model or a bundle, as far as scoring it goes; ``data`` and ``split`` are its usual ones.

    ``flip``: its predictions are means with those of the mirrored image.
    """

    name: str
    predict: Predictor
    labels: LabelSet
    height: int
    width: int
    runtime: str
    data: str | None
    split: str | None
    flip: bool = False


def _require_matplotlib() -> None:
    """Before the scoring, which may take long and is lost where its pictures cannot be drawn."""
    from importlib.util import find_spec

    from edgeseg.errors import MissingExtraError

    if find_spec("matplotlib") is None:
        raise MissingExtraError.of("edgeseg evaluate", "matplotlib", "benchmark")


def _open(file: Path, flip: bool, trusted_keys: list[Path] | None) -> _Model:
    from edgeseg.errors import UsageError

    if not (file.is_dir() or file.suffix == ".edgeseg"):
        if trusted_keys:
            raise UsageError(
                "--require-signature",
                expected="a bundle, for nothing else is signed",
                found=f"the file {file}",
                next_step="Leave it out, or name a bundle.",
            )
        return _open_keras(file, flip)
    if flip:
        raise UsageError(
            "--flip",
            expected="a .keras file, for what runs in the car is the bundle's graph as it is",
            found=f"the bundle {file}",
            next_step="Leave --flip out, or name the checkpoint that the bundle was exported from.",
        )
    return _open_bundle(file, trusted_keys)


def _open_keras(file: Path, flip: bool) -> _Model:
    from edgeseg.cli.training_half import training_half
    from edgeseg.training.checkpoint_info import own_info

    info = own_info(file, otherwise="Train it with edgeseg, or export it and evaluate the bundle.")
    with training_half("evaluating a .keras file"):
        from edgeseg.training.checkpoint import load_checkpoint
        from edgeseg.training.predictor import keras_predictor
    model, _ = load_checkpoint(file)
    name = file.parent.parent.name if file.parent.name == "weights" else file.stem
    return _Model(
        name,
        keras_predictor(model, flip=flip),
        info.label_set(),
        info.height,
        info.width,
        "keras",
        info.dataset or None,
        info.recipe.get("val_split"),
        flip,
    )


def _open_bundle(folder: Path, trusted_keys: list[Path] | None) -> _Model:
    from edgeseg.segmenter import load

    segmenter = load(folder, trusted_keys=trusted_keys, isolate=True)
    name = folder.name.removesuffix(".edgeseg")
    measured = segmenter.model.measured
    return _Model(
        name,
        segmenter.predict,
        segmenter.labels,
        segmenter.height,
        segmenter.width,
        segmenter.runtime_name,
        (measured and measured.dataset) or None,
        (measured and measured.split) or None,
    )


def _dataset_spec(data: str | None, model: _Model) -> str:
    from edgeseg.errors import UsageError

    spec = data or model.data
    if spec is None:
        raise UsageError(
            "--data",
            expected="labelled data, for the file names none",
            found="none",
            next_step="Name it, for instance --data camvid:PATH.",
        )
    return spec


@dataclass(frozen=True)
class _Scored:
    """What was scored, on what, with what result; ``worst`` of its images are shown."""

    file: Path
    split: str
    model: _Model
    dataset: Dataset
    evaluation: Evaluation
    worst: int

    @property
    def name(self) -> str:
        return f"{self.model.name}-{self.split}" + ("-flip" if self.model.flip else "")

    def summary(self) -> dict[str, Any]:
        return {
            "file": str(self.file),
            "runtime": self.model.runtime,
            "dataset": self.dataset.spec,
            "split": self.split,
            "size": [self.model.height, self.model.width],
            "flip": self.model.flip,
            # A model's own label set has the same classes, and knows no categories.
            **self.evaluation.to_dict(self.dataset.labels),
            "worst_images": [{"name": i.name, "miou": i.miou} for i in self.evaluation.worst(self.worst)],
        }


def _write(scored: _Scored, wanted: Path) -> Path:
    """``summary.json``, ``confusion.png`` and ``worst.png`` in a new folder."""
    import json

    from edgeseg.atomic import write_text
    from edgeseg.training.plots import plot_confusion
    from edgeseg.training.run_folder import new_folder

    folder = new_folder(wanted)
    text = json.dumps(scored.summary(), indent=2, ensure_ascii=False)
    write_text(folder / "summary.json", text + "\n")
    miou = 100 * scored.evaluation.label_scores.miou
    title = f"{scored.model.name} on {scored.dataset.name} {scored.split}, mIoU {miou:.1f}"
    plot_confusion(folder / "confusion.png", scored.evaluation.label_matrix, scored.model.labels, title)
    if scored.worst:
        _draw_worst(scored, folder / "worst.png")
    return folder


def _draw_worst(scored: _Scored, path: Path) -> None:
    from edgeseg.resize import resize_image, resize_mask
    from edgeseg.training.plots import plot_predictions

    model, by_name = scored.model, {item.name: item for item in scored.dataset.items(scored.split)}
    worst = scored.evaluation.worst(scored.worst)
    samples = [scored.dataset.read(by_name[image.name]) for image in worst]
    predictions = [model.predict(resize_image(s.image, model.height, model.width)) for s in samples]
    plot_predictions(
        path,
        model.labels,
        [s.image for s in samples],
        [s.mask for s in samples],
        [resize_mask(p, *s.mask.shape) for p, s in zip(predictions, samples, strict=True)],
        title=f"The {len(worst)} images of the lowest mIoU",
        captions=[f"{image.name}: mIoU {100 * image.miou:.1f}" for image in worst],
    )


def _show(scored: _Scored) -> None:
    from edgeseg.cli.console import console, print_table
    from edgeseg.tables import points

    evaluation, names = scored.evaluation, scored.model.labels.names
    at_label, at_model = evaluation.label_scores, evaluation.model_scores
    print_table(
        f"Per class, {evaluation.samples} images, label resolution",
        ["class", *_PER_CLASS],
        _per_class(at_label, names),
    )
    labels = scored.dataset.labels
    if categories := evaluation.category_scores(labels):
        print_table(
            f"Per category, label resolution: mIoU {points(categories.miou)}",
            ["category", *_PER_CLASS],
            _per_class(categories, labels.category_names),
        )
    print_table(
        "All classes",
        ["", "label resolution", "model resolution"],
        [
            [name, points(getattr(at_label, key)), points(getattr(at_model, key))]
            for name, key in (
                ("mIoU", "miou"),
                ("mean Dice", "mean_dice"),
                ("pixel accuracy", "pixel_accuracy"),
                ("frequency-weighted IoU", "frequency_weighted_iou"),
            )
        ],
    )
    if at_label.absent:
        absent = ", ".join(names[i] for i in at_label.absent)
        console.print(f"n/a, in neither truth nor prediction, and left out of the means: {absent}")


def _per_class(scores: Scores, names: Sequence[str]) -> list[list[str]]:
    from edgeseg.tables import points

    columns = (scores.iou, scores.dice, scores.precision, scores.recall)
    return [[name, *(points(column[i]) for column in columns)] for i, name in enumerate(names)]


def _next_command(scored: _Scored) -> str:
    from shlex import join

    file, data = str(scored.file), scored.dataset.spec
    if scored.model.runtime == "keras":
        return join(["edgeseg", "export", file, "--target", "arm", "--data", data])
    return join(["edgeseg", "benchmark", file, "--data", data])
