"""ONNX to OpenVINO IR; the graph contract is in the ONNX graph already, and stays as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.export.converter import converting
from edgeseg.export.int8 import Int8Settings
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
        with converting("conversion to OpenVINO int8", _ADVICE):
            self.layers = tuple(op.get_friendly_name() for op in _layers(_read(model)))

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        with converting("conversion to OpenVINO int8", _ADVICE) as capture:
            on_progress = capture.showing(self._on_progress)
            return _saved(_quantised(_read(self._model), settings, self._frames, on_progress))

    def quick(self) -> OpenVINOQuantiser:
        some = self._frames[:: max(1, len(self._frames) // _FEW_FRAMES)][:_FEW_FRAMES]
        return OpenVINOQuantiser(self._model, some)


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
    graph: Any, settings: Int8Settings, frames: npt.NDArray[np.uint8], on_progress: Advance
) -> Any:
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters

    advanced = AdvancedQuantizationParameters()
    if settings.ranges == "percentile":
        advanced = AdvancedQuantizationParameters(activations_range_estimator_params=_percentile())
    return nncf.quantize(
        graph,
        nncf.Dataset(_Frames(frames, on_progress)),
        preset=nncf.QuantizationPreset.MIXED if _is_lopsided(graph) else nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(frames),
        ignored_scope=nncf.IgnoredScope(names=sorted(settings.float_layers)),
        advanced_parameters=advanced,
    )


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
