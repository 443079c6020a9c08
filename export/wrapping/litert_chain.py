"""A ``.tflite`` file's tables as objects, and operations that are added to them.

The schema's generated classes read and write them; TensorFlow is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.export.wrapping.tensors import PREFIX

_ALIGNMENT = 16
_INITIAL_BYTES = 1024
_IDENTIFIER = b"TFL3"

_OPTIONS = {
    "ADD": "AddOptions",
    "ARG_MAX": "ArgMaxOptions",
    "CAST": "CastOptions",
    "GATHER": "GatherOptions",
    "GREATER": "GreaterOptions",
    "MUL": "MulOptions",
    "QUANTIZE": "QuantizeOptions",
    "RESHAPE": "ReshapeOptions",
    "RESIZE_BILINEAR": "ResizeBilinearOptions",
    "RESIZE_NEAREST_NEIGHBOR": "ResizeNearestNeighborOptions",
    "TRANSPOSE": "TransposeOptions",
}


def read_tables(data: bytes) -> Any:
    """The file as a ``ModelT``."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(data)


def write_tables(model: Any) -> bytes:
    """A ``ModelT`` as a file.

    Raises:
        ValueError: Its data does not lie inside its tables.
    """
    import flatbuffers

    aligned = _aligned_buffer()
    for buffer in model.buffers:
        if buffer.offset > 1:
            raise ValueError("data behind the tables, as files of more than 2 GB have it")
        buffer.__class__ = aligned
    builder = flatbuffers.Builder(_INITIAL_BYTES)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _aligned_buffer() -> type:
    """Buffers whose data begins at a multiple of 16, as the schema asks and its Python classes do not keep.

    Kernels of Arm CPUs load weights from where they lie.
    """

    from ai_edge_litert import schema_py_generated as schema

    class Aligned(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> int:  # noqa: N802 - as the schema has it
            if self.data is None or not len(self.data):
                return int(super().Pack(builder))
            whole = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(whole), _ALIGNMENT)
            builder.head -= len(whole)
            builder.Bytes[builder.head : builder.head + len(whole)] = whole
            data = builder.EndVector()
            schema.BufferStart(builder)
            schema.BufferAddData(builder, data)
            return int(schema.BufferEnd(builder))

    return Aligned


class Chain:
    """Operations one after the other, with the tensors and constants that they add to a model.

    Each of the steps takes the number of a tensor and gives that of its output.
    """

    def __init__(self, model: Any) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model, self._graph = model, model.subgraphs[0]
        self.operators: list[Any] = []

    def tensor(self, shape: Sequence[int], dtype: str, like: int | None = None) -> int:
        """A new tensor; with ``like``, its codes mean what they mean in that one."""
        made = self._schema.TensorT()
        made.name = f"{PREFIX}{len(self._graph.tensors)}"
        made.shape, made.buffer = [int(size) for size in shape], 0
        made.type = self._type(dtype)
        if like is not None:
            made.quantization = self._graph.tensors[like].quantization
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def constant(self, values: npt.NDArray[Any]) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        index = self.tensor(values.shape, values.dtype.name)
        self._graph.tensors[index].buffer = len(self._model.buffers) - 1
        return index

    def add(
        self, operation: str, inputs: Sequence[int], output: int, version: int = 1, **options: Any
    ) -> int:
        """Append an operation; its options are named as in the schema."""
        made = self._schema.OperatorT()
        made.opcodeIndex = self._code(getattr(self._schema.BuiltinOperator, operation), version)
        made.inputs, made.outputs = list(inputs), [output]
        name = _OPTIONS[operation]
        made.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
        made.builtinOptions = getattr(self._schema, f"{name}T")()
        for key, value in options.items():
            setattr(made.builtinOptions, key, value)
        self.operators.append(made)
        return output

    def cast(self, tensor: int, dtype: str) -> int:
        """The tensor's numbers, codes as they are, in another type."""
        before = self._graph.tensors[tensor]
        types = {"inDataType": before.type, "outDataType": self._type(dtype)}
        if types["inDataType"] == types["outDataType"]:
            return tensor
        return self.add("CAST", [tensor], self.tensor(before.shape, dtype), **types)

    def transpose(self, tensor: int, order: Sequence[int], like: int | None = None) -> int:
        before = self._graph.tensors[tensor]
        turned = self.tensor([before.shape[i] for i in order], self._name(before.type), like)
        is_float = before.type == self._schema.TensorType.FLOAT32
        return self.add(
            "TRANSPOSE", [tensor, self.constant(np.array(order, np.int32))], turned, 1 if is_float else 2
        )

    def reshape(self, tensor: int, shape: Sequence[int]) -> int:
        made = self.tensor(shape, self._name(self._graph.tensors[tensor].type))
        sizes = self.constant(np.array(shape, np.int32))
        return self.add("RESHAPE", [tensor, sizes], made, newShape=[int(size) for size in shape])

    def resize(self, tensor: int, operation: str, height: int, width: int) -> int:
        """``[1, h, w, C]`` at another size, pixels being areas."""
        before = self._graph.tensors[tensor]
        made = self.tensor((1, height, width, before.shape[3]), self._name(before.type))
        size = self.constant(np.array([height, width], np.int32))
        # The third version is the first that knows half-pixel centres.
        return self.add(operation, [tensor, size], made, 3, halfPixelCenters=True)

    def arg_max(self, tensor: int, axis: int) -> int:
        before = self._graph.tensors[tensor]
        is_float = before.type == self._schema.TensorType.FLOAT32
        shape = [size for i, size in enumerate(before.shape) if i != axis]
        number = self.constant(np.array([axis], np.int32))
        made = self.tensor(shape, "int32")
        return self.add(
            "ARG_MAX", [tensor, number], made, 1 if is_float else 2, outputType=self._type("int32")
        )

    def _type(self, dtype: str) -> int:
        return int(getattr(self._schema.TensorType, dtype.upper()))

    def _name(self, number: int) -> str:
        return next(name.lower() for name, value in vars(self._schema.TensorType).items() if value == number)

    def _code(self, operation: int, version: int) -> int:
        made = self._schema.OperatorCodeT()
        # The older field holds one byte, and every operation used here fits into it.
        made.builtinCode = made.deprecatedBuiltinCode = operation
        made.version = version
        self._model.operatorCodes.append(made)
        return len(self._model.operatorCodes) - 1
