"""The end of a run: its best checkpoint scored on the labels as they are, its pictures, its summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from edgeseg import __version__
from edgeseg.atomic import write_text
from edgeseg.evaluation import Evaluation, Sample, evaluate
from edgeseg.training.checkpoint import load_checkpoint
from edgeseg.training.data import Dataset
from edgeseg.training.observer import Run
from edgeseg.training.plots import plot_confusion, plot_curves
from edgeseg.training.predictor import keras_predictor
from edgeseg.training.run_folder import EpochRow, best_row


def summarise(
    run: Run, dataset: Dataset, rows: Sequence[EpochRow], on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Write ``curves.png``, ``confusion.png`` and ``summary.json``; gives what the latter holds.

    The checkpoint is read from its file: what is scored is what will be exported.
    """
    plot_curves(run.folder.curves, rows)
    recipe = run.recipe
    model, _ = load_checkpoint(run.folder.best)
    samples = _counted(dataset, recipe.val_split, on_progress)
    evaluation = evaluate(keras_predictor(model), samples, run.labels, recipe.height, recipe.width)
    title = f"{recipe.model} on {dataset.name} {recipe.val_split}"
    miou = evaluation.label_scores.miou
    plot_confusion(
        run.folder.confusion, evaluation.label_matrix, run.labels, f"{title}, mIoU {100 * miou:.1f}"
    )
    summary = _values(run, rows, evaluation)
    write_text(run.folder.summary, json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return summary


def _counted(dataset: Dataset, split: str, on_progress: Callable[[int, int], None]) -> Iterator[Sample]:
    total = len(dataset.items(split))
    for finished, sample in enumerate(dataset.samples(split), start=1):
        yield sample
        on_progress(finished, total)


def _values(run: Run, rows: Sequence[EpochRow], evaluation: Evaluation) -> dict[str, Any]:
    best = best_row(rows)
    return {
        "model": run.recipe.model,
        "parameters": run.parameters,
        "dataset": run.recipe.data,
        "split": run.recipe.val_split,
        "size": list(run.recipe.size),
        "recipe_hash": run.recipe.hash(),
        "precision": run.precision,
        "epochs": len(rows),
        "best_epoch": best.epoch,
        "seconds": round(sum(row.seconds for row in rows), 1),
        "miou": evaluation.label_scores.miou,
        "evaluation": evaluation.to_dict(run.labels),
        "versions": {
            "edgeseg": __version__,
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
    }
