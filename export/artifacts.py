"""A Keras model as the model files of one bundle."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import Output, Precision
from edgeseg.export.int8 import Quantiser
from edgeseg.export.litert_int8 import LiteRTQuantiser
from edgeseg.export.progress import Stage, silent
from edgeseg.export.quantise import RECIPES, OnnxQuantiser
from edgeseg.export.targets import Format
from edgeseg.export.to_litert import FloatPrecision, convert_litert
from edgeseg.export.to_onnx import convert_onnx, to_half

if TYPE_CHECKING:
    import keras
    import onnx


@dataclass(frozen=True)
class Artifact:
    """One converted model file: its name in the bundle, and its bytes."""

    file: str
    format: Literal["tflite", "onnx"]
    precision: Precision
    data: bytes


class Converter:
    """Makes the files of one model in one format.

    Args:
        model: The Keras model, ``uint8 [N, H, W, 3]`` to logits.
        kind: The format of the files.
        output: What the graphs give.
        stage: Told about each conversion.
    """

    def __init__(self, model: keras.Model, kind: Format, output: Output, stage: Stage = silent) -> None:
        self._model, self._kind, self._output, self._stage = model, kind, output, stage
        self._onnx: onnx.ModelProto | None = None

    def in_float(self, precision: FloatPrecision) -> Artifact:
        """The file that computes in float32, or holds float16.

        Raises:
            ConversionError: The converter failed.
        """
        if self._kind.suffix == "tflite":
            with self._stage(f"Converting to LiteRT {precision}") as advance:
                data = convert_litert(self._model, self._output, precision)
                advance(1, 1)
        else:
            graph = self._graph()
            data = (to_half(graph) if precision == "fp16" else graph).SerializeToString()
        return self._artifact(precision, data)

    def quantiser(self, frames: npt.NDArray[np.uint8], *, equalise: bool) -> Quantiser:
        """What makes int8 files, calibrated.

        Args:
            frames: Real images ``uint8 [N, H, W, 3]`` RGB.
            equalise: Make the model's channels alike before.

        Raises:
            ConversionError: The converter failed.
        """
        from edgeseg.export.equalise import equalised

        with equalised(self._model, frames) if equalise else nullcontext():
            if self._kind.suffix == "tflite":
                with self._stage("Calibrating LiteRT int8") as advance:
                    return LiteRTQuantiser(self._model, self._output, frames, advance)
            graph = convert_onnx(self._model, self._output) if equalise else self._graph()
        with self._stage("Calibrating ONNX int8") as advance:
            return OnnxQuantiser(graph, RECIPES[self._kind.qdq], frames, advance)

    def in_int8(self, data: bytes) -> Artifact:
        """A quantiser's file."""
        return self._artifact("int8", data)

    def _graph(self) -> onnx.ModelProto:
        if self._onnx is None:
            with self._stage("Converting to ONNX") as advance:
                self._onnx = convert_onnx(self._model, self._output)
                advance(1, 1)
        return self._onnx

    def _artifact(self, precision: Precision, data: bytes) -> Artifact:
        return Artifact(f"model.{precision}.{self._kind.suffix}", self._kind.suffix, precision, data)
