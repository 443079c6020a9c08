"""LiteRT in int8: one conversion and one calibration, from which files of any settings are made.

The converter is asked for the calibrated float model alone; its ranges are then replaced and layers left out,
before the same quantiser runs that the converter would have run.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import Output
from edgeseg.export.converter import Signature, converting, signature_of
from edgeseg.export.int8 import Calibrated, Int8Settings
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Advance, ignore
from edgeseg.export.ranges import Range, Seen
from edgeseg.export.to_litert import ADVICE, converter_of, write_saved_model
from edgeseg.runtimes.choice import available_cores

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

_WHAT = "conversion to LiteRT int8"
_FILE_IDENTIFIER = b"TFL3"
_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL")
INPUT = "input scaling"
"""The name of the steps that depend on no layer."""


@dataclass
class _Steps:
    """What stays in float with a layer, as the quantiser knows it.

    Args:
        nodes: Steps, by the name of what they give.
        kinds: Kinds of those steps that give several tensors, such as ``SPLIT``: the quantiser knows them by
            no name, so that all steps of the kind stay in float.
    """

    nodes: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)


class LiteRTQuantiser(Calibrated[int]):
    """A :class:`edgeseg.export.int8.Quantiser` of ``.tflite`` files.

    Args:
        model: The Keras model.
        output: What the graph gives.
        frames: Calibration images ``uint8 [N, H, W, 3]`` RGB.
        on_progress: Called as frames are seen.

    Raises:
        ConversionError: The model does not keep to the contract, or holds an operation LiteRT does not have.
    """

    def __init__(
        self,
        model: keras.Model,
        output: Output,
        frames: npt.NDArray[np.uint8],
        on_progress: Advance = ignore,
    ) -> None:
        signature = signature_of(model, output)
        with converting(_WHAT, ADVICE) as capture:
            self._calibrated = _calibrated(model, signature, frames[:1])
            seen = _see(self._calibrated, frames, capture.showing(on_progress))
        self._steps = _steps_of_layers(self._calibrated)
        super().__init__(seen, tuple(self._steps))

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        with converting(_WHAT, ADVICE):
            from tensorflow.lite.python.convert import mlir_quantize

            calibrated = _with_ranges(self._calibrated, self.spans(settings))
            in_float = [self._steps[layer] for layer in settings.float_layers]
            quantised = mlir_quantize(
                calibrated,
                denylisted_nodes=sorted({node for steps in in_float for node in steps.nodes}),
                denylisted_ops=sorted({kind for steps in in_float for kind in steps.kinds}),
            )
            return ModelBytes(bytes(quantised))


def _calibrated(model: keras.Model, signature: Signature, frames: npt.NDArray[np.uint8]) -> bytes:
    """The float model with a range for every tensor that a quantiser needs one of."""
    with tempfile.TemporaryDirectory() as saved_model:
        write_saved_model(model, signature, saved_model)
        converter = converter_of(saved_model)
        _ask_for_ranges(converter, frames)
        return bytes(converter.convert())


def _ask_for_ranges(converter: tf.lite.TFLiteConverter, frames: npt.NDArray[np.uint8]) -> None:
    import tensorflow as tf

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([frame[None]] for frame in frames)
    # Only these: where an operation has no int8 kernel, a failure is better than a silent float island.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    # Its own ranges are replaced: one frame is enough to find out which tensors need one.
    converter._experimental_calibrate_only = True


def _see(calibrated: bytes, frames: npt.NDArray[np.uint8], on_progress: Advance) -> dict[int, Seen]:
    """What each tensor that has a range holds on the frames, by its index in the file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    wanted = [i for i, tensor in enumerate(_graph(_parsed(calibrated)).tensors) if _has_range(tensor)]
    # Without the delegate that would fuse them away, the tensors in between can be read.
    interpreter = Interpreter(
        model_content=calibrated,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
        num_threads=available_cores(),
    )
    interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]["index"]
    seen: dict[int, Seen] = defaultdict(Seen)
    for count, frame in enumerate(frames, start=1):
        interpreter.set_tensor(image, frame[None])
        interpreter.invoke()
        for index in wanted:
            seen[index].add(interpreter.get_tensor(index))
        on_progress(count, len(frames))
    return dict(seen)


def _with_ranges(calibrated: bytes, spans: Mapping[int, Range]) -> bytes:
    """The same file with other ranges."""
    import flatbuffers

    model = _parsed(calibrated)
    tensors = _graph(model).tensors
    for index, (low, high) in spans.items():
        tensors[index].quantization.min = [low]
        tensors[index].quantization.max = [high]
    builder = flatbuffers.Builder(len(calibrated))
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output())


def _steps_of_layers(calibrated: bytes) -> dict[str, _Steps]:
    """The layers that multiply, in their order, each with all steps that stay in float with it.

    A step that does not multiply, such as those of a normalisation, softmax or addition, belongs to the last
    of the layers that it depends on: in a transformer these round more away than the layers do.
    """
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    kinds = {number: name for name, number in vars(BuiltinOperator).items() if isinstance(number, int)}
    model = _parsed(calibrated)
    graph = _graph(model)
    steps: dict[str, _Steps] = defaultdict(_Steps)
    order: dict[str, int] = {INPUT: 0}
    layer_of: dict[int, str] = {}
    for op in graph.operators:
        kind = kinds[model.operatorCodes[op.opcodeIndex].builtinCode]
        names = [graph.tensors[output].name.decode() for output in op.outputs]
        if kind in _LAYERS:
            layer = names[0]
            order[layer] = len(order)
        else:
            before = (layer_of.get(tensor, INPUT) for tensor in op.inputs)
            layer = max(before, key=order.__getitem__, default=INPUT)
        layer_of.update(dict.fromkeys(op.outputs, layer))
        if kind == "CAST":  # There is no int8 of it: alone, before the first layer, it is nothing to keep.
            continue
        steps[layer].nodes.extend(names)
        if len(names) > 1:
            steps[layer].kinds.add(kind)
    return {layer: steps[layer] for layer in order if layer in steps}


def _parsed(data: bytes) -> Any:
    from ai_edge_litert.schema_py_generated import Model, ModelT

    return ModelT.InitFromObj(Model.GetRootAs(data, 0))


def _graph(model: Any) -> Any:
    return model.subgraphs[0]


def _has_range(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.max is not None
