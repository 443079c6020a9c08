"""A Keras model as the model files of one bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import FileFormat, Output, Precision
from edgeseg.export.progress import Stage, silent
from edgeseg.export.quantise import RECIPES, quantise_qdq
from edgeseg.export.targets import Format
from edgeseg.export.to_litert import convert_litert
from edgeseg.export.to_onnx import convert_onnx, to_half
from edgeseg.export.to_openvino import convert_openvino

if TYPE_CHECKING:
    import keras
    import onnx


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
        calibration: Real frames ``uint8 [N, H, W, 3]``; needed for int8 alone.
        stage: Told about each conversion.
    """

    def __init__(
        self,
        model: keras.Model,
        output: Output,
        calibration: npt.NDArray[np.uint8] | None,
        stage: Stage = silent,
    ) -> None:
        self._model = model
        self._output = output
        self._calibration = calibration
        self._stage = stage

    def artifacts(self, kind: Format, precisions: Sequence[Precision]) -> tuple[Artifact, ...]:
        """The model's files of one format, one for each of the precisions, in their order.

        Raises:
            ConversionError: A converter failed.
        """
        make = {"tflite": self._tflite, "onnx": self._onnx, "openvino": self._openvino}[kind.stored]
        return tuple(make(precision, kind) for precision in precisions)

    def _tflite(self, precision: Precision, _kind: Format) -> Artifact:
        with self._stage(f"Converting to LiteRT {precision}") as advance:
            data = convert_litert(self._model, self._output, precision, self._calibration, advance)
            advance(1, 1)
        return Artifact(f"model.{precision}.tflite", "tflite", precision, data)

    def _onnx(self, precision: Precision, kind: Format) -> Artifact:
        graph = self._full_graph
        if precision == "fp16":
            graph = to_half(graph)
        elif precision == "int8":
            with self._stage("Quantising to ONNX int8") as advance:
                graph = quantise_qdq(graph, RECIPES[kind.qdq], self._calibration, advance)
        return Artifact(f"model.{precision}.onnx", "onnx", precision, graph.SerializeToString())

    def _openvino(self, precision: Precision, _kind: Format) -> Artifact:
        graph = self._full_graph
        with self._stage(f"Converting to OpenVINO {precision}") as advance:
            made = convert_openvino(graph, precision, self._calibration, advance)
            advance(1, 1)
        return Artifact(f"model.{precision}.xml", "openvino", precision, made.graph, made.weights)

    @cached_property
    def _full_graph(self) -> onnx.ModelProto:
        with self._stage("Converting to ONNX") as advance:
            graph = convert_onnx(self._model, self._output)
            advance(1, 1)
        return graph
