"""ONNX fp32 to int8 with explicit Q/DQ pairs, by the recipe of the runtime that is to be fast."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from edgeseg.export.converter import converting
from edgeseg.export.progress import Advance, ignore

if TYPE_CHECKING:
    import onnx

_TENSORRT_OPS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "MaxPool", "AveragePool", "GlobalAveragePool")
_ADVICE = "Export with --precision fp16, or try --format litert; --debug shows all that the converter said."


@dataclass(frozen=True)
class QdqRecipe:
    """How a graph is quantised: the arguments of ONNX Runtime's ``quantize_static`` that differ.

    Both are per channel and calibrated on the range of values seen.
    """

    activations: Literal["int8", "uint8"]
    ops: tuple[str, ...]
    reduce_range: bool
    extra: Mapping[str, Any]


RECIPES: dict[str, QdqRecipe] = {
    # What TensorRT's parser takes: symmetric int8 alone, and float biases. Inputs of convolutions, matrix
    # products and pools are quantised, their outputs stay float. ONNX Runtime runs it right, but slowly: it
    # fuses a convolution only where its output is quantised too.
    "tensorrt": QdqRecipe(
        activations="int8",
        ops=_TENSORRT_OPS,
        reduce_range=False,
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
        extra={"WeightSymmetric": True},
    ),
}


def quantise_qdq(
    model: onnx.ModelProto,
    recipe: QdqRecipe,
    calibration: npt.NDArray[np.uint8],
    on_progress: Advance = ignore,
) -> onnx.ModelProto:
    """A copy of an fp32 graph that computes in int8, with explicit Q/DQ pairs.

    Args:
        model: Graph with one input ``uint8 [1, H, W, 3]``.
        recipe: One of ``RECIPES``.
        calibration: Varied real frames ``uint8 [N, H, W, 3]`` RGB, not those that are tested on.
        on_progress: Called as frames are seen.

    Raises:
        ConversionError: The quantiser failed.
    """
    with converting("quantisation to ONNX int8", _ADVICE) as capture:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        with tempfile.TemporaryDirectory() as folder:
            fp32, int8 = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
            onnx.save(onnx.shape_inference.infer_shapes(model), fp32)
            quantize_static(
                fp32,
                int8,
                _Reader(model.graph.input[0].name, calibration, capture.showing(on_progress)),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(recipe.ops),
                per_channel=True,
                reduce_range=recipe.reduce_range,
                activation_type=QuantType.QInt8 if recipe.activations == "int8" else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options=dict(recipe.extra),
            )
            quantised = onnx.shape_inference.infer_shapes(onnx.load(int8))
        onnx.checker.check_model(quantised, full_check=True)
        return quantised


class _Reader:
    """ONNX Runtime's calibration reader: one frame a call, then ``None``."""

    def __init__(self, input_name: str, frames: npt.NDArray[np.uint8], on_progress: Advance) -> None:
        self._feeds = self._iterate(input_name, frames, on_progress)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        return next(self._feeds, None)

    @staticmethod
    def _iterate(
        input_name: str, frames: npt.NDArray[np.uint8], on_progress: Advance
    ) -> Iterator[dict[str, npt.NDArray[np.uint8]]]:
        for index, frame in enumerate(frames):
            yield {input_name: frame[None]}
            on_progress(index + 1, len(frames))
