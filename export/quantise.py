"""ONNX in int8 with explicit Q/DQ pairs, by the recipe of the runtime that is to be fast.

The graph is run once on the calibration frames; files of any settings are made of what was seen there.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgeseg.export.converter import converting
from edgeseg.export.float_layers import guard_float_layers
from edgeseg.export.int8 import Calibrated, Int8Settings
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Advance, ignore
from edgeseg.export.ranges import Range, Seen
from edgeseg.runtimes.choice import available_cores

if TYPE_CHECKING:
    import onnx

_TENSORRT_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool")
_WHAT = "quantisation to ONNX int8"
_LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_ADVICE = "Export with --precision fp16, or try --format litert; --debug shows all that the converter said."


@dataclass(frozen=True)
class QdqRecipe:
    """How a graph is quantised: the arguments of ONNX Runtime's ``quantize_static`` that differ.

    Both are per channel and calibrated on the range of values seen. ``guards_float`` is for files that ONNX
    Runtime is to run; see ``guard_float_layers``.
    """

    activations: Literal["int8", "uint8"]
    ops: tuple[str, ...]
    reduce_range: bool
    guards_float: bool
    extra: Mapping[str, Any]


RECIPES: dict[str, QdqRecipe] = {
    # What TensorRT's parser takes: symmetric int8 alone, and float biases. Inputs of convolutions, matrix
    # products and pools are quantised, their outputs stay float. ONNX Runtime runs it right, but slowly: it
    # fuses a convolution only where its output is quantised too.
    "tensorrt": QdqRecipe(
        activations="int8",
        ops=_TENSORRT_OPS,
        reduce_range=False,
        guards_float=False,  # TensorRT refuses a bias that comes as int32.
        extra={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "DedicatedQDQPair": False,
            "OpTypesToExcludeOutputQuantization": list(_TENSORRT_OPS),
        },
    ),
    # What ONNX Runtime's x86 kernels are made for: uint8 activations with a zero point, int8 weights of 7
    # bits. With all 8 bits, CPUs without VNNI instructions saturate and give other masks, silently.
    "onnxruntime": QdqRecipe(
        activations="uint8",
        ops=(*_TENSORRT_OPS, "Concat", "Relu", "Clip"),
        reduce_range=True,
        guards_float=True,
        extra={"WeightSymmetric": True},
    ),
}


class OnnxQuantiser(Calibrated[str]):
    """A :class:`edgeseg.export.int8.Quantiser` of ``.onnx`` files.

    Args:
        model: An fp32 graph with one input ``uint8 [1, H, W, 3]``.
        recipe: One of ``RECIPES``.
        frames: Varied real frames ``uint8 [N, H, W, 3]`` RGB, not those that are tested on.
        on_progress: Called as frames are seen.

    Raises:
        ConversionError: The graph cannot be run.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        recipe: QdqRecipe,
        frames: npt.NDArray[np.uint8],
        on_progress: Advance = ignore,
    ) -> None:
        self._recipe = recipe
        with converting(_WHAT, _ADVICE) as capture:
            import onnx

            self._model = onnx.shape_inference.infer_shapes(model)
            seen = _see(self._model, frames, capture.showing(on_progress))
        layers = tuple(node.name for node in self._model.graph.node if node.op_type in _LAYERS)
        super().__init__(seen, layers)

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        with converting(_WHAT, _ADVICE):
            made = _quantised(self._model, self._recipe, self.spans(settings), settings.float_layers)
            return ModelBytes(made)


def _see(model: onnx.ModelProto, frames: npt.NDArray[np.uint8], on_progress: Advance) -> dict[str, Seen]:
    """What every float tensor between the nodes holds on the frames, by its name."""
    import onnx
    import onnxruntime

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    given = {output.name for output in whole.graph.output}
    between = [v for v in whole.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    whole.graph.output.extend(v for v in between if v.name not in given)
    wanted = [v.name for v in whole.graph.output if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    session = onnxruntime.InferenceSession(
        whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    image = whole.graph.input[0].name
    seen: dict[str, Seen] = defaultdict(Seen)
    for count, frame in enumerate(frames, start=1):
        for name, values in zip(wanted, session.run(wanted, {image: frame[None]}), strict=True):
            seen[name].add(values)
        on_progress(count, len(frames))
    return dict(seen)


def _quantised(
    model: onnx.ModelProto, recipe: QdqRecipe, spans: Mapping[str, Range], float_layers: frozenset[str]
) -> bytes:
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        int8, ranges = Path(folder, "int8.onnx"), Path(folder, "ranges.json")
        _write_ranges(spans, ranges)
        quantize_static(
            model,
            int8,
            calibration_cache_path=ranges,
            calibrate_method=CalibrationMethod.MinMax,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(recipe.ops),
            nodes_to_exclude=sorted(float_layers),
            per_channel=True,
            reduce_range=recipe.reduce_range,
            activation_type=QuantType.QInt8 if recipe.activations == "int8" else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options=dict(recipe.extra),
        )
        quantised = onnx.load(int8)
    if recipe.guards_float:
        guard_float_layers(quantised, float_layers)
    quantised = onnx.shape_inference.infer_shapes(quantised)
    onnx.checker.check_model(quantised, full_check=True)
    return bytes(quantised.SerializeToString())


def _write_ranges(spans: Mapping[str, Range], path: Path) -> None:
    """As the ranges that an earlier calibration of ONNX Runtime would have left."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in spans.items()
    }
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), path)
