"""A Keras model as the model files of one bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import Output, Precision
from edgeseg.export.progress import Stage, silent
from edgeseg.export.quantise import RECIPES, quantise_qdq
from edgeseg.export.targets import Format
from edgeseg.export.to_litert import convert_litert
from edgeseg.export.to_onnx import convert_onnx, to_half

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Artifact:
    """One converted model file: its name in the bundle, and its bytes."""

    file: str
    format: Literal["tflite", "onnx"]
    precision: Precision
    data: bytes


def make_artifacts(
    model: keras.Model,
    kind: Format,
    precisions: Sequence[Precision],
    output: Output,
    calibration: npt.NDArray[np.uint8] | None,
    stage: Stage = silent,
) -> tuple[Artifact, ...]:
    """Convert a model to each of the precisions, in their order.

    Args:
        model: The Keras model, ``uint8 [N, H, W, 3]`` to logits.
        kind: The format of the files.
        precisions: What to make.
        output: What the graphs give.
        calibration: Real frames ``uint8 [N, H, W, 3]``; needed for int8 alone.
        stage: Told about each conversion.

    Raises:
        ConversionError: A converter failed.
    """
    if kind.suffix == "tflite":
        return _make_tflite(model, precisions, output, calibration, stage)
    return _make_onnx(model, kind.qdq, precisions, output, calibration, stage)


def _make_tflite(
    model: keras.Model,
    precisions: Sequence[Precision],
    output: Output,
    calibration: npt.NDArray[np.uint8] | None,
    stage: Stage,
) -> tuple[Artifact, ...]:
    made = []
    for precision in precisions:
        with stage(f"Converting to LiteRT {precision}") as advance:
            data = convert_litert(model, output, precision, calibration, advance)
            advance(1, 1)
        made.append(Artifact(f"model.{precision}.tflite", "tflite", precision, data))
    return tuple(made)


def _make_onnx(
    model: keras.Model,
    recipe: str,
    precisions: Sequence[Precision],
    output: Output,
    calibration: npt.NDArray[np.uint8] | None,
    stage: Stage,
) -> tuple[Artifact, ...]:
    with stage("Converting to ONNX") as advance:
        full = convert_onnx(model, output)
        advance(1, 1)
    made = []
    for precision in precisions:
        graph = full
        if precision == "fp16":
            graph = to_half(full)
        elif precision == "int8":
            with stage("Quantising to ONNX int8") as advance:
                graph = quantise_qdq(full, RECIPES[recipe], calibration, advance)
        made.append(Artifact(f"model.{precision}.onnx", "onnx", precision, graph.SerializeToString()))
    return tuple(made)
