"""ONNX to OpenVINO IR; the graph contract is in the ONNX graph already, and stays as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import Precision
from edgeseg.export.converter import converting
from edgeseg.export.progress import Advance, ignore
from edgeseg.runtimes.openvino import import_openvino

if TYPE_CHECKING:
    import onnx

_LOPSIDED = {"Elu", "Gelu", "HSwish", "Mish", "PRelu", "Selu", "Sigmoid", "SoftPlus", "Swish"}
_ADVICE = "Try --format onnx, or another precision; --debug shows all that the converter said."


@dataclass(frozen=True)
class IR:
    """A model as OpenVINO keeps it: the graph (``.xml``), and its weights (``.bin``)."""

    graph: bytes
    weights: bytes


def convert_openvino(
    model: onnx.ModelProto,
    precision: Precision,
    calibration: npt.NDArray[np.uint8] | None = None,
    on_progress: Advance = ignore,
) -> IR:
    """Convert an fp32 ONNX graph.

    fp16 keeps weights as float16. bf16 is the file of fp32: the runtime computes it in bfloat16. int8 is
    quantised by NNCF, weights per channel and activations to the ranges that ``calibration``
    (``uint8 [N, H, W, 3]``, RGB) shows.

    Raises:
        ConversionError: The graph holds an operation that OpenVINO does not have, or the quantiser failed.
        MissingExtraError: OpenVINO or, for int8, NNCF is not installed.
    """
    with converting(f"conversion to OpenVINO {precision}", _ADVICE) as capture:
        openvino = import_openvino()
        # Not openvino.convert_model, which only adds its own telemetry to this.
        graph = openvino.Core().read_model(model=model.SerializeToString())
        if precision == "int8":
            graph = _quantised(graph, calibration, capture.showing(on_progress))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.xml")
            openvino.save_model(graph, path, compress_to_fp16=precision == "fp16")
            return IR(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _quantised(graph: Any, calibration: npt.NDArray[np.uint8] | None, on_progress: Advance) -> Any:
    import nncf

    if calibration is None:
        raise ValueError("int8 needs calibration images")
    return nncf.quantize(
        graph,
        nncf.Dataset(_Frames(calibration, on_progress)),
        preset=nncf.QuantizationPreset.MIXED if _is_lopsided(graph) else nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(calibration),
    )


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
