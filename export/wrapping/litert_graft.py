"""The graph contract, written into a ``.tflite`` file around what it holds.

The model's own operations stay as they are. Before them come those that make its input of a frame, after them
those that make a class map of its output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.export.converter import converting
from edgeseg.export.wrapping.litert_chain import Chain, read_tables, write_tables
from edgeseg.export.wrapping.reading import InputReading, Reading

_ADVICE = "Convert the model again with a current converter; --debug shows more."
_BGR = [2, 1, 0]
_TO_NCHW, _TO_NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
_ARG_MAX_TYPES = ("float32", "int8", "uint8")


def graft(data: bytes, output: int, reading: Reading) -> bytes:
    """The file with the contract around it.

    Args:
        data: A ``.tflite`` file without custom operations.
        output: Number of the tensor that holds the classes.
        reading: How its input and that output are read.

    Raises:
        ConversionError: The file could not be read or written.
    """
    with converting("wrapping a LiteRT model", _ADVICE):
        model = read_tables(data)
        graph = model.subgraphs[0]
        given = int(graph.inputs[0])
        _fix(graph.tensors[given], reading.input.shape)
        _fix(graph.tensors[output], [int(size or 0) for size in reading.output.tensor.shape])
        before, after = Chain(model), Chain(model)
        frame = _make_input(before, given, reading.input)
        mask = _make_mask(after, output, reading)
        graph.operators = [*before.operators, *_needed(graph, output), *after.operators]
        graph.inputs, graph.outputs = [frame], [mask]
        # They name inputs and outputs that are no longer there.
        model.signatureDefs = None
        return write_tables(model)


def _fix(tensor: Any, shape: Any) -> None:
    tensor.shape, tensor.shapeSignature = list(shape), None


def _needed(graph: Any, output: int) -> list[Any]:
    """The operations that one output comes from, and those that give nothing but act on variables."""
    wanted, kept = {output}, []
    for operator in reversed(graph.operators):
        made = [] if operator.outputs is None else [int(tensor) for tensor in operator.outputs]
        if not made or wanted.intersection(made):
            wanted.update(int(tensor) for tensor in (operator.inputs if operator.inputs is not None else ()))
            kept.append(operator)
    return kept[::-1]


def _make_input(chain: Chain, given: int, read: InputReading) -> int:
    """The frame's tensor; what is made of it last becomes the model's own input."""
    plane = (1, read.height, read.width, 3)
    as_it_is = read.pixels.as_they_are
    frame = now = chain.tensor(plane, "uint8", given if as_it_is else None)
    if read.order == "bgr":
        colours = chain.constant(np.array(_BGR, np.int32))
        turned = chain.tensor(plane, "uint8", given if as_it_is else None)
        now = chain.add("GATHER", [now, colours], turned, axis=3)
    if not as_it_is:
        now = _scaled(chain, now, given, read)
    if read.layout == "NCHW":
        now = chain.transpose(now, _TO_NCHW, given)
    if now == frame:
        return given
    chain.operators[-1].outputs = [given]
    return frame


def _scaled(chain: Chain, frame: int, given: int, read: InputReading) -> int:
    plane, pixels, dtype = (1, read.height, read.width, 3), read.pixels, read.tensor.dtype
    order = slice(None, None, -1 if read.order == "bgr" else 1)
    real = chain.cast(frame, "float32")
    for operation, values, neutral in (("MUL", pixels.multiply, 1), ("ADD", pixels.add, 0)):
        if (values != neutral).any():
            number = chain.constant(_one_where_equal(values[order]))
            real = chain.add(operation, [real, number], chain.tensor(plane, "float32"))
    if pixels.quantisation is None:
        return chain.cast(real, dtype)
    return chain.add("QUANTIZE", [real], chain.tensor(plane, dtype, given))


def _one_where_equal(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return values[:1] if (values == values[0]).all() else values


def _make_mask(chain: Chain, output: int, reading: Reading) -> int:
    read, wanted = reading.output, reading.input
    full = (1, wanted.height, wanted.width)
    if read.kind == "scores":
        ids = _highest(chain, output, reading)
    else:
        plane = chain.reshape(output, (1, read.height, read.width, 1))
        ids = _over(chain, plane, reading) if read.kind == "threshold" else _given(chain, plane, reading)
    return chain.reshape(chain.cast(ids, "uint8"), full)


def _highest(chain: Chain, scores: int, reading: Reading) -> int:
    read, wanted = reading.output, reading.input
    axis = 3 if read.layout == "NHWC" else 1
    if reading.resized or read.tensor.dtype not in _ARG_MAX_TYPES:
        # Codes as whole numbers, not what they stand for: their order is the same, and their means are exact.
        scores = chain.cast(scores, "float32")
    if reading.resized:
        scores = scores if axis == 3 else chain.transpose(scores, _TO_NHWC)
        scores, axis = chain.resize(scores, "RESIZE_BILINEAR", wanted.height, wanted.width), 3
    return chain.arg_max(scores, axis)


def _over(chain: Chain, plane: int, reading: Reading) -> int:
    wanted = reading.input
    scores = chain.cast(plane, "float32")
    if reading.resized:
        scores = chain.resize(scores, "RESIZE_BILINEAR", wanted.height, wanted.width)
    threshold = chain.constant(np.array([reading.output.threshold], np.float32))
    above = chain.tensor((1, wanted.height, wanted.width, 1), "bool")
    return chain.add("GREATER", [scores, threshold], above)


def _given(chain: Chain, plane: int, reading: Reading) -> int:
    ids = chain.cast(plane, "uint8")
    if not reading.resized:
        return ids
    return chain.resize(ids, "RESIZE_NEAREST_NEIGHBOR", reading.input.height, reading.input.width)
