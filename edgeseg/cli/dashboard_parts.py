"""What the dashboard's page is handed: Keras models, datasets, run folders and benchmark results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from edgeseg.cli.training_half import training_half
from edgeseg.dashboard.model import FunctionModel
from edgeseg.dashboard.parts import LabelledData, Measured, Palette, Parts, Results, Run
from edgeseg.errors import DataError, EdgesegError

if TYPE_CHECKING:
    from edgeseg.benchmarks.schema import BenchmarkDocument, ModelDocument

_LARGEST_RESULT = 64 << 20


def parts() -> Parts:
    """All of it; Keras is imported when the first ``.keras`` file is opened."""
    from edgeseg.benchmarks.palette import PRECISIONS, SERIES
    from edgeseg.benchmarks.pareto import pareto_set

    # The last of the series is black, which a dark page hides.
    return Parts(open_keras, open_data, find_runs, find_results, pareto_set, Palette(SERIES[:-1], PRECISIONS))


def open_keras(path: Path) -> FunctionModel:
    """A checkpoint of ``edgeseg train``; its softmax is the confidence.

    Raises:
        UsageError: There is no such file.
        DataError: It is damaged, or says nothing of its classes.
        MissingExtraError: Keras or TensorFlow is not installed.
    """
    from edgeseg.training.checkpoint_info import own_info

    info = own_info(path, otherwise="Export it with 'edgeseg export', and look at the bundle.")
    with training_half("looking at a .keras file"):
        from edgeseg.training.checkpoint import load_checkpoint
        from edgeseg.training.predictor import confident_predictor
    import numpy as np

    model, _ = load_checkpoint(path)
    infer = confident_predictor(model)
    # The first call traces the model: it is no latency to show.
    infer(np.zeros((info.height, info.width, 3), np.uint8))
    name = path.parent.parent.name if path.parent.name == "weights" else path.stem
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FunctionModel(name, "keras", digest, info.label_set(), (info.height, info.width), infer)


def open_data(spec: str) -> LabelledData:
    """
    Raises:
        EdgesegError: As :func:`edgeseg.training.data.open_dataset`.
    """
    from edgeseg.training.data import open_dataset

    return open_dataset(spec)


def find_runs(root: Path) -> list[Run]:
    """The run folders below ``root``, the newest first. What is damaged in one is its ``fault``."""
    recipes = sorted(root.rglob("recipe.yaml"), key=lambda file: (-file.stat().st_mtime, file))
    return [_run(file.parent, root) for file in recipes]


def find_results(root: Path) -> Results:
    """Every finished benchmark below ``root``, by the name of its file."""
    measured: list[Measured] = []
    faults: list[str] = []
    for path in sorted(root.rglob("*.json")):
        try:
            measured += _measured(path, path.relative_to(root).as_posix())
        except EdgesegError as error:
            faults.append(str(error))
    return Results(measured, faults)


def _run(folder: Path, root: Path) -> Run:
    from edgeseg.training.run_folder import RunFolder

    paths = RunFolder(folder)
    faults = []
    rows: Sequence[dict[str, float]] = []
    try:
        rows = [asdict(row) for row in paths.read_rows()]
    except DataError as error:
        faults.append(str(error))
    recipe, summary = _read_yaml(paths.recipe, faults), _read_summary(paths.summary, faults)
    grids = {_epoch(file): file for file in sorted(paths.prediction(0).parent.glob("epoch-*.png"))}
    return Run(
        folder.relative_to(root).as_posix() if folder != root else folder.name,
        rows,
        recipe,
        summary,
        {epoch: file for epoch, file in grids.items() if epoch},
        paths.confusion if paths.confusion.is_file() else None,
        " ".join(faults) or None,
    )


def _epoch(file: Path) -> int:
    digits = file.stem.removeprefix("epoch-")
    return int(digits) if digits.isdecimal() else 0


def _read_yaml(path: Path, faults: list[str]) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        faults.append(str(_damaged(path, error)))
        return {}
    return values if isinstance(values, dict) else {}


def _read_summary(path: Path, faults: list[str]) -> dict[str, Any]:
    """Empty where the run has not written it yet, or what the page takes from it is of another kind."""
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        _check_summary(values)
    except (OSError, ValueError) as error:
        faults.append(str(_damaged(path, error)))
        return {}
    return dict(values)


def _check_summary(values: Any) -> None:
    """
    Raises:
        ValueError: It is no summary.
    """
    tables = [values]
    for key in ("evaluation", "label_resolution", "per_class"):
        tables.append(tables[-1].get(key, {}) if isinstance(tables[-1], dict) else None)
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("no table where the evaluation should be")
    if not isinstance(values.get("miou", 0.0), int | float):
        raise ValueError(f"miou {values['miou']!r}")
    matrix = tables[1].get("confusion_matrix", [])
    if not isinstance(matrix, list) or not all(isinstance(row, list) for row in matrix):
        raise ValueError("no confusion matrix where one should be")


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        path,
        expected="the file as training wrote it",
        found=" ".join(str(error).split())[:200],
        next_step="Restore it, or look at another run.",
    )


def _measured(path: Path, name: str) -> Iterator[Measured]:
    """
    Raises:
        DataError: The file says that it is a benchmark's, and is none of this version.
    """
    from edgeseg.benchmarks.schema import parse_document

    values = _benchmark_values(path)
    if values is None:
        return
    document = parse_document(values, name)
    marks = [*document.marks, *(["stopped before its end"] if document.state != "complete" else [])]
    for model in document.models:
        yield _model(document, model, name, marks)


def _benchmark_values(path: Path) -> dict[str, Any] | None:
    """The content of a file that looks like a benchmark's; other JSON lies in these folders too."""
    try:
        if path.stat().st_size > _LARGEST_RESULT:
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    looks_like_one = isinstance(values, dict) and {"schema", "host", "frames", "models"} <= values.keys()
    return values if looks_like_one else None


def _model(document: BenchmarkDocument, model: ModelDocument, file: str, marks: list[str]) -> Measured:
    total = model.stages_ms["total"]
    percentiles = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p999", "max": "max"}
    size = document.frames.get("size")
    frames = f", frames {size}" if size else ""
    miou, scored_on = _accuracy(model)
    return Measured(
        file,
        f"{document.host.cpu}, {document.host.cores} cores{frames}",
        scored_on,
        model.name,
        model.runtime,
        model.precision,
        model.threads,
        miou,
        {shown: total.percentile(field) for shown, field in percentiles.items()},
        model.memory_mib.get("peak_mib"),
        marks,
    )


def _accuracy(model: ModelDocument) -> tuple[float | None, str]:
    """As measured in that run, or else as recorded when the bundle was exported."""
    if model.miou is not None and not isinstance(model.accuracy, str):
        found = model.accuracy
        return (
            model.miou,
            f"mIoU of {found.samples} images of {found.dataset} {found.split}, label resolution",
        )
    recorded = (model.model_extra or {}).get("recorded_at_export")
    if isinstance(recorded, dict) and isinstance(recorded.get("miou"), float):
        return recorded["miou"], "mIoU as recorded at export"
    return None, "no accuracy"
