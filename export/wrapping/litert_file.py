"""A foreign ``.tflite`` file, bare."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import FileFormat, Precision
from edgeseg.export.converter import require_installed
from edgeseg.export.wrapping.damaged import not_a_bundle, refused_input, unreadable
from edgeseg.export.wrapping.litert_chain import read_tables
from edgeseg.export.wrapping.litert_graft import graft
from edgeseg.export.wrapping.reading import Reading
from edgeseg.export.wrapping.tensors import Quantisation, Tensor
from edgeseg.runtimes.litert import refuse_custom_code

_RUNTIME = "LiteRT"
_CODES = ("int8", "uint8")


class LiteRTFile:
    """Opens the file with LiteRT; a :class:`edgeseg.export.wrapping.tensors.RawModel`.

    Raises:
        MissingExtraError: LiteRT is not installed.
        UnsafeModelError: It holds custom operations, or its data is elsewhere.
        DataError: It is damaged, or LiteRT cannot load it.
    """

    format: FileFormat = "tflite"
    runtime = "litert"

    def __init__(self, path: Path, data: bytes) -> None:
        require_installed("wrapping a .tflite file", ["ai_edge_litert"])
        from ai_edge_litert.interpreter import Interpreter

        self.path, self.data = path, data
        with not_a_bundle(path, _RUNTIME):
            refuse_custom_code(str(path), data)
        try:
            self._interpreter = Interpreter(model_content=data)
        except (ValueError, RuntimeError) as error:
            raise unreadable(path, _RUNTIME, str(error)) from error
        names = _signature_names(data)
        details = self._interpreter.get_tensor_details()
        self._index: dict[str, int] = {}
        self.inputs = [self._tensor(d, names) for d in self._interpreter.get_input_details()]
        self.outputs = [self._tensor(d, names) for d in self._interpreter.get_output_details()]
        self.precision = _precision(details)
        self._shape: tuple[int, ...] = ()

    def run(self, pixels: npt.NDArray[Any], output: Tensor) -> npt.NDArray[Any]:
        given = self._interpreter.get_input_details()[0]["index"]
        try:
            if self._shape != pixels.shape:
                self._interpreter.resize_tensor_input(given, list(pixels.shape), strict=False)
                self._interpreter.allocate_tensors()
                self._shape = pixels.shape
            self._interpreter.set_tensor(given, pixels)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise refused_input(self.path, pixels, error) from error
        made: npt.NDArray[Any] = self._interpreter.get_tensor(self._index[output.name])
        return made

    def wrapped(self, reading: Reading) -> bytes:
        return graft(self.data, self._index[reading.output.tensor.name], reading)

    def _tensor(self, details: dict[str, Any], names: dict[int, str]) -> Tensor:
        index, own = int(details["index"]), str(details["name"])
        name = names.get(index, own)
        self._index[name] = index
        signature = details.get("shape_signature", details["shape"])
        shape = tuple(None if size < 0 else int(size) for size in signature)
        return Tensor(name, np.dtype(details["dtype"]).name, shape, _quantisation(details), own)


def _signature_names(data: bytes) -> dict[int, str]:
    """Index of a tensor to its name in the file's signature, which people know; empty without one."""
    signatures = read_tables(data).signatureDefs or []
    named = [*(signatures[0].inputs or []), *(signatures[0].outputs or [])] if len(signatures) == 1 else []
    return {int(entry.tensorIndex): entry.name.decode(errors="replace") for entry in named}


def _quantisation(details: dict[str, Any]) -> Quantisation | None:
    parameters = details["quantization_parameters"]
    if np.dtype(details["dtype"]).name not in _CODES or len(parameters["scales"]) != 1:
        return None
    return Quantisation(float(parameters["scales"][0]), int(parameters["zero_points"][0]))


def _precision(details: list[dict[str, Any]]) -> Precision:
    """int8 where any tensor is quantised, weights or activations; fp16 where weights are kept so."""
    types = {np.dtype(d["dtype"]).name for d in details}
    if any(
        np.dtype(d["dtype"]).name in _CODES and len(d["quantization_parameters"]["scales"]) for d in details
    ):
        return "int8"
    return "fp16" if "float16" in types else "fp32"
