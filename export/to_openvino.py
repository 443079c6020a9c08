"""ONNX to OpenVINO IR; the graph contract is in the ONNX graph already, and stays as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.export.converter import converting
from edgeseg.export.int8 import Int8Settings, Quantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Advance, ignore
from edgeseg.export.ranges import PERCENTILE
from edgeseg.export.to_litert import FloatPrecision
from edgeseg.runtimes.openvino import import_openvino

if TYPE_CHECKING:
    import onnx

_FEW_FRAMES = 4
_LAYERS = ("Convolution", "ConvolutionBackpropData", "GroupConvolution", "MatMul")
_LOPSIDED = {"Elu", "Gelu", "HSwish", "Mish", "PRelu", "Selu", "Sigmoid", "SoftPlus", "Swish"}
_MOVES = {
    "AdaptiveMaxPool", "BatchToSpace", "Broadcast", "Concat", "ConvertLike", "DepthToSpace", "Gather",
    "GatherElements", "GatherND", "MaxPool", "Maximum", "Minimum", "Pad", "ReduceMax", "Reshape",
    "ScatterElementsUpdate", "ScatterNDUpdate", "ScatterUpdate", "ShuffleChannels", "SpaceToBatch",
    "SpaceToDepth", "Split", "Squeeze", "StridedSlice", "Tile", "Transpose", "Unsqueeze",
    "VariadicSplit",
}  # fmt: skip
"""Operations that give what they were given: NNCF may put a layer's rounding before them."""
_WHAT = "conversion to OpenVINO int8"
_ADVICE = "Try --format onnx, or another precision; --debug shows all that the converter said."


def convert_openvino(model: onnx.ModelProto, precision: FloatPrecision) -> ModelBytes:
    """Convert an fp32 ONNX graph to one that computes in float.

    fp16 keeps weights as float16. bf16 is the file of fp32: the runtime computes it in bfloat16. int8 is made
    by :class:`OpenVINOQuantiser`.

    Raises:
        ConversionError: The graph holds an operation that OpenVINO does not have.
        MissingExtraError: OpenVINO is not installed.
    """
    with converting(f"conversion to OpenVINO {precision}", _ADVICE):
        return _saved(_read(model), compress_to_fp16=precision == "fp16")


class OpenVINOQuantiser:
    """A :class:`edgeseg.export.int8.Quantiser` by NNCF, which calibrates anew for every setting.

    Args:
        model: An fp32 graph with one input ``uint8 [1, H, W, 3]``.
        frames: Varied real frames ``uint8 [N, H, W, 3]`` RGB, not those that are tested on.
        on_progress: Called as frames are seen.

    Raises:
        ConversionError: The graph holds an operation that OpenVINO does not have.
    """

    ranges = ("minmax", "percentile")

    def __init__(
        self, model: onnx.ModelProto, frames: npt.NDArray[np.uint8], on_progress: Advance = ignore
    ) -> None:
        self._model, self._frames, self._on_progress = model, frames, on_progress
        with converting(_WHAT, _ADVICE):
            self.layers = tuple(op.get_friendly_name() for op in _layers(_read(model)))

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        with converting(_WHAT, _ADVICE) as capture:
            on_progress = capture.showing(self._on_progress)
            return _saved(_quantised(_read(self._model), settings, self._frames, on_progress))

    def quick(self) -> Quantiser:
        some = self._frames[:: max(1, len(self._frames) // _FEW_FRAMES)][:_FEW_FRAMES]
        return _CalibratedOnce(self._model, some, self.layers)


class _CalibratedOnce:
    """Files of many settings from one run of NNCF, which takes many seconds for a deep network.

    A layer in float is one that gets its roundings taken away again, so that the others are rounded as they
    are in the file where all of them are. Biases are not corrected for what rounding shifts: that would be
    wrong as soon as a layer is not rounded.
    """

    ranges = OpenVINOQuantiser.ranges

    def __init__(
        self, model: onnx.ModelProto, frames: npt.NDArray[np.uint8], layers: tuple[str, ...]
    ) -> None:
        self._model, self._frames, self.layers = model, frames, layers
        self._graphs: dict[str, Any] = {}

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        with converting(_WHAT, _ADVICE):
            if settings.ranges not in self._graphs:
                everything = Int8Settings(settings.ranges)
                self._graphs[settings.ranges] = _quantised(
                    _read(self._model), everything, self._frames, ignore, can_be_undone=True
                )
            graph = self._graphs[settings.ranges].clone()
            _take_roundings_away(graph, settings.float_layers)
            return _saved(graph)

    def quick(self) -> Quantiser:
        return self


def _read(model: onnx.ModelProto) -> Any:
    # Not openvino.convert_model, which only adds its own telemetry to this.
    graph = import_openvino().Core().read_model(model=model.SerializeToString())
    for number, layer in enumerate(_layers(graph), start=1):
        kind, name = layer.get_type_name(), layer.get_friendly_name()
        # OpenVINO gives some a number of its own, which is another at every reading.
        if name.startswith(f"{kind}_"):
            layer.set_friendly_name(f"{kind}_{number}")
    return graph


def _layers(graph: Any) -> list[Any]:
    return [op for op in graph.get_ordered_ops() if op.get_type_name() in _LAYERS]


def _saved(graph: Any, *, compress_to_fp16: bool = False) -> ModelBytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.xml")
        import_openvino().save_model(graph, path, compress_to_fp16=compress_to_fp16)
        return ModelBytes(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _quantised(
    graph: Any,
    settings: Int8Settings,
    frames: npt.NDArray[np.uint8],
    on_progress: Advance,
    *,
    can_be_undone: bool = False,
) -> Any:
    """The graph with NNCF's roundings; where they are to be undone, weights and biases stay as they are."""
    import nncf
    from nncf.openvino.quantization.backend_parameters import BackendParameters
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters

    advanced = AdvancedQuantizationParameters(
        disable_bias_correction=can_be_undone,
        backend_params={BackendParameters.COMPRESS_WEIGHTS: not can_be_undone},
    )
    if settings.ranges == "percentile":
        advanced.activations_range_estimator_params = _percentile()
    return nncf.quantize(
        graph,
        nncf.Dataset(_Frames(frames, on_progress)),
        preset=nncf.QuantizationPreset.MIXED if _is_lopsided(graph) else nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(frames),
        ignored_scope=nncf.IgnoredScope(names=sorted(settings.float_layers)),
        advanced_parameters=advanced,
    )


def _take_roundings_away(graph: Any, float_layers: frozenset[str]) -> None:
    """Leave out those that these layers alone would see; what an int8 layer sees too stays."""
    kept, left_out = {}, {}
    for op in _layers(graph):
        found = left_out if op.get_friendly_name() in float_layers else kept
        found.update({_place(port): port for port in _rounded_inputs(op)})
    for place, port in left_out.items():
        if place not in kept:
            port.replace_source_output(_source(port).input_value(0))


def _rounded_inputs(op: Any) -> Iterator[Any]:
    """The inputs that take what was rounded for an operation: its own, or those of what moves it there."""
    for port in op.inputs():
        kind = _source(port).get_type_name()
        if kind == "FakeQuantize":
            yield port
        elif kind in _MOVES:
            yield from _rounded_inputs(_source(port))


def _source(port: Any) -> Any:
    return port.get_source_output().get_node()


def _place(port: Any) -> tuple[str, int]:
    return port.get_node().get_friendly_name(), port.get_index()


def _percentile() -> Any:
    """NNCF's parameters for ranges that leave out the most extreme values of each frame."""
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    side = StatisticsCollectorParameters(
        statistics_type=StatisticsType.QUANTILE,
        aggregator_type=AggregatorType.MEAN,
        quantile_outlier_prob=1 - PERCENTILE / 100,
    )
    return RangeEstimatorParameters(min=side, max=side)


def _is_lopsided(graph: Any) -> bool:
    """Whether an activation is neither one-sided nor even: a range that is even about zero suits it badly.

    Even ranges were an eighth faster on U-Net Mini, as accurate with ReLU, and less so with swish.
    """
    return any(op.get_type_name() in _LOPSIDED for op in graph.get_ops())


class _Frames:
    """The calibration frames as batches of one; NNCF goes through them more than once."""

    def __init__(self, frames: npt.NDArray[np.uint8], on_progress: Advance) -> None:
        self._frames = frames
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[npt.NDArray[np.uint8]]:
        for index, frame in enumerate(self._frames):
            # Before and not after: NNCF takes the last frame without asking whether there is another.
            self._on_progress(index + 1, len(self._frames))
            yield frame[None]
