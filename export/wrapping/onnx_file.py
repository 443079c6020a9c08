"""A foreign ``.onnx`` file, bare."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import FileFormat, Precision
from edgeseg.errors import UnsafeModelError
from edgeseg.export.converter import require_installed
from edgeseg.export.wrapping.damaged import not_a_bundle, refused_input, unreadable
from edgeseg.export.wrapping.onnx_graft import graft
from edgeseg.export.wrapping.reading import Reading
from edgeseg.export.wrapping.tensors import Quantisation, Tensor
from edgeseg.runtimes.onnx_source import refuse_external_data

if TYPE_CHECKING:
    import onnx

_RUNTIME = "ONNX Runtime"
_ERRORS_ONLY = 3
_CODES = ("int8", "uint8")
_QUANTISED_OPS = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger")
_READS_CODES = ("DequantizeLinear", "QLinearConv")
_MAKES_CODES = {"QuantizeLinear": (1, 2), "QLinearConv": (6, 7)}
"""Operations whose output is quantised, and which of their inputs are its scale and zero point."""
_KEEPS_CODES = ("Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


class OnnxFile:
    """Opens the file with ONNX Runtime; a :class:`edgeseg.export.wrapping.tensors.RawModel`.

    Raises:
        MissingExtraError: The ONNX packages are not installed.
        UnsafeModelError: It holds custom operations, or its data is in another file.
        DataError: It is damaged, or ONNX Runtime cannot load it.
    """

    format: FileFormat = "onnx"
    runtime = "onnx"

    def __init__(self, path: Path, data: bytes) -> None:
        require_installed("wrapping an .onnx file", ["onnx", "onnxruntime"])
        self.path, self.data = path, data
        with not_a_bundle(path, _RUNTIME):
            refuse_external_data(str(path), data)
        self._session = _session(path, data)
        self._graph = _parsed(path, data).graph
        self.inputs = [self._tensor(port) for port in self._session.get_inputs()]
        self.outputs = [self._tensor(port) for port in self._session.get_outputs()]
        self.precision = _precision(self._graph)

    def run(self, pixels: npt.NDArray[Any], output: Tensor) -> npt.NDArray[Any]:
        try:
            (made,) = self._session.run([output.name], {self.inputs[0].name: pixels})
        except Exception as error:  # its errors share no base class below Exception
            raise refused_input(self.path, pixels, error) from error
        return np.asarray(made)

    def wrapped(self, reading: Reading) -> bytes:
        return graft(self.data, reading)

    def _tensor(self, port: Any) -> Tensor:
        dtype = port.type.removeprefix("tensor(").removesuffix(")")
        dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
        shape = tuple(size if isinstance(size, int) else None for size in port.shape)
        return Tensor(port.name, dtype, shape, self._quantisation(port.name) if dtype in _CODES else None)

    def _quantisation(self, name: str) -> Quantisation | None:
        """What the codes of an input or output stand for: the operation that reads or makes them says it."""
        return self._behind(name, reads=any(name == port.name for port in self._graph.input))

    def _behind(self, name: str, *, reads: bool) -> Quantisation | None:
        """The same of any tensor: what only moves codes, as converters put at the ports, is seen through."""
        for node in self._graph.node:
            near, far = (node.input[:1], node.output[:1]) if reads else (node.output[:1], node.input[:1])
            if [name] != list(near):
                continue
            if reads and node.op_type in _READS_CODES:
                return self._constants(node.input[1:3])
            if not reads and node.op_type in _MAKES_CODES:
                return self._constants(
                    node.input[i] for i in _MAKES_CODES[node.op_type] if i < len(node.input)
                )
            if node.op_type in _KEEPS_CODES:
                return self._behind(far[0], reads=reads)
        return None

    def _constants(self, names: Iterable[str]) -> Quantisation | None:
        from onnx import numpy_helper

        known = {tensor.name: tensor for tensor in self._graph.initializer}
        known |= {n.output[0]: n.attribute[0].t for n in self._graph.node if n.op_type == "Constant"}
        values = [numpy_helper.to_array(known[name]) for name in names if name in known]
        if not values or any(value.size != 1 for value in values):
            return None
        return Quantisation(float(values[0].item()), int(values[1].item()) if len(values) > 1 else 0)


def _session(path: Path, data: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class below Exception
        said = str(error).strip()
        if "is not a registered function/op" not in said:
            raise unreadable(path, _RUNTIME, said) from error
        raise UnsafeModelError(
            path,
            expected="standard operations of ONNX",
            found=said,
            next_step="Convert the model again without custom operations.",
        ) from error


def _parsed(path: Path, data: bytes) -> onnx.ModelProto:
    import onnx

    try:
        return onnx.load_from_string(data)
    except Exception as error:  # protobuf's class is not to be imported by name
        raise unreadable(path, _RUNTIME, str(error)) from error


def _precision(graph: onnx.GraphProto) -> Precision:
    """int8 where anything is quantised; fp16 where weights are kept so."""
    from onnx import TensorProto

    if any(node.op_type in _QUANTISED_OPS or node.op_type.startswith("QLinear") for node in graph.node):
        return "int8"
    return "fp16" if any(t.data_type == TensorProto.FLOAT16 for t in graph.initializer) else "fp32"
