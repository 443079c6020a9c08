"""A Keras model as the model files of one bundle."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import FileFormat, Output, Precision
from edgeseg.export.int8 import Quantiser
from edgeseg.export.litert_int8 import LiteRTQuantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Stage, silent
from edgeseg.export.quantise import RECIPES, OnnxQuantiser
from edgeseg.export.targets import Format
from edgeseg.export.to_litert import FloatPrecision, convert_litert
from edgeseg.export.to_onnx import convert_onnx, to_half
from edgeseg.export.to_openvino import OpenVINOQuantiser, convert_openvino
from edgeseg.export.weights import Weights, having

if TYPE_CHECKING:
    import keras
    import onnx

    from edgeseg.export.fake_quantisation import Grid
    from edgeseg.export.quantisation_aware import FineTuning


_SUFFIXES: dict[FileFormat, str] = {"tflite": "tflite", "onnx": "onnx", "openvino": "xml"}


@dataclass(frozen=True)
class Artifact:
    """One converted model: its file's name in the bundle, its bytes, and its weights where they lie apart."""

    file: str
    format: FileFormat
    precision: Precision
    data: bytes
    weights: bytes | None = None

    @property
    def weights_file(self) -> str | None:
        """The name in the bundle of the weights that lie apart."""
        return None if self.weights is None else Path(self.file).with_suffix(".bin").name

    @property
    def members(self) -> dict[str, bytes]:
        """Every file of it, by its name in the bundle."""
        apart = {self.weights_file: self.weights} if self.weights_file and self.weights is not None else {}
        return {self.file: self.data, **apart}

    @property
    def size(self) -> int:
        return sum(len(data) for data in self.members.values())


class Conversion:
    """A Keras model on its way to files of one or more formats; what these share is made once.

    Args:
        model: The Keras model, ``uint8 [N, H, W, 3]`` to logits.
        output: What the graphs give.
        stage: Told about each conversion.
    """

    def __init__(self, model: keras.Model, output: Output, stage: Stage = silent) -> None:
        self._model, self._output, self._stage = model, output, stage

    def in_float(self, kind: Format, precision: Precision) -> Artifact:
        """The file of one format that computes in float.

        Raises:
            ConversionError: The converter failed.
        """
        make = {"tflite": self._tflite, "onnx": self._onnx, "openvino": self._openvino}[kind.stored]
        # bf16 is a way to run the file of fp32.
        return self.artifact(kind, precision, make("fp16" if precision == "fp16" else "fp32"))

    def artifact(self, kind: Format, precision: Precision, made: ModelBytes) -> Artifact:
        """A file of one format under its name in the bundle."""
        name = f"model.{precision}.{_SUFFIXES[kind.stored]}"
        return Artifact(name, kind.stored, precision, made.data, made.weights)

    def quantiser(
        self, kind: Format, frames: npt.NDArray[np.uint8], weights: Weights | None = None
    ) -> Quantiser:
        """What makes int8 files of one format.

        Args:
            kind: The format.
            frames: Real images ``uint8 [N, H, W, 3]`` RGB to calibrate on.
            weights: Instead of the model's own, which it keeps.

        Raises:
            ConversionError: The converter failed.
        """
        with having(self._model, weights):
            if kind.stored == "tflite":
                with self._stage("Calibrating LiteRT int8") as advance:
                    return LiteRTQuantiser(self._model, self._output, frames, advance)
            graph = self._full_graph if weights is None else convert_onnx(self._model, self._output)
        if kind.stored == "openvino":
            return OpenVINOQuantiser(graph, frames)
        with self._stage("Calibrating ONNX int8") as advance:
            return OnnxQuantiser(graph, RECIPES[kind.qdq], frames, advance)

    def equalised_weights(self, frames: npt.NDArray[np.uint8]) -> Weights:
        """The model's weights with channels that span alike on these frames; see ``equalised``."""
        from edgeseg.export.equalise import equalised

        with equalised(self._model, frames):
            return list(self._model.get_weights())

    def fine_tuned(
        self,
        kind: Format,
        frames: npt.NDArray[np.uint8],
        start: Weights | None,
        steps: int,
    ) -> tuple[Weights, FineTuning]:
        """Weights that lose less in int8 of one format; arguments as of ``quantisation_aware.fine_tuned``.

        ``start`` computes what the model does; ``None`` begins at the model's own weights.

        Raises:
            ConversionError: The model cannot be copied.
        """
        from edgeseg.export.quantisation_aware import fine_tuned

        with having(self._model, start), self._stage(f"Fine-tuning for {kind.name} int8") as advance:
            return fine_tuned(self._model, frames, steps=steps, grid=_grid_of(kind), on_progress=advance)

    def _tflite(self, precision: FloatPrecision) -> ModelBytes:
        with self._stage(f"Converting to LiteRT {precision}") as advance:
            data = convert_litert(self._model, self._output, precision)
            advance(1, 1)
        return ModelBytes(data)

    def _onnx(self, precision: FloatPrecision) -> ModelBytes:
        graph = to_half(self._full_graph) if precision == "fp16" else self._full_graph
        return ModelBytes(graph.SerializeToString())

    def _openvino(self, precision: FloatPrecision) -> ModelBytes:
        graph = self._full_graph
        with self._stage(f"Converting to OpenVINO {precision}") as advance:
            made = convert_openvino(graph, precision)
            advance(1, 1)
        return made

    @cached_property
    def _full_graph(self) -> onnx.ModelProto:
        with self._stage("Converting to ONNX") as advance:
            graph = convert_onnx(self._model, self._output)
            advance(1, 1)
        return graph


def _grid_of(kind: Format) -> Grid:
    from edgeseg.export.fake_quantisation import Grid

    if not kind.qdq:
        return Grid()
    recipe = RECIPES[kind.qdq]
    return Grid(kernel_steps=64 if recipe.reduce_range else 127, symmetric=recipe.activations == "int8")
