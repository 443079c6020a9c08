"""Exported graphs through NVIDIA's own parser and builder, which need no GPU.

It is TensorRT-RTX and not the Jetson's TensorRT, but of its kind: passing is strong evidence and no proof.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from edgeseg.errors import EngineBuildError
from edgeseg.export.artifacts import Artifact
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.quantise import RECIPES, OnnxQuantiser
from edgeseg.export.to_onnx import convert_onnx, to_half
from edgeseg.runtimes.tensorrt.api import Api
from edgeseg.runtimes.tensorrt.builder import build_engine
from edgeseg.runtimes.tensorrt.memory import GIB
from models_cases import CASES, cases


@pytest.fixture
def rtx() -> Api:
    module = pytest.importorskip("tensorrt_rtx", reason="pip install 'edgeseg[tensorrt-rtx]' to run NVIDIA's")
    return Api.of(module, "tensorrt_rtx")


def _in_precision(graph: onnx.ModelProto, precision: str, frames: np.ndarray) -> bytes:
    if precision == "int8":
        return OnnxQuantiser(graph, RECIPES["tensorrt"], frames).quantise(Int8Settings()).data
    return to_half(graph).SerializeToString()


@pytest.mark.parametrize("output", ["mask", "logits", "mask+confidence"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_every_kind_of_output_is_built(rtx, model, frames, output, precision) -> None:
    graph = _in_precision(convert_onnx(model, output), precision, frames)
    assert build_engine(rtx, "small", graph, [GIB]).engine


def test_an_export_for_jetson_names_the_node_that_tensorrt_would_refuse(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = keras.Sequential(
        [
            keras.Input((24, 24, 3), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 9),
            keras.layers.Resizing(24, 24, interpolation="nearest"),  # from 16: one and a half times
            keras.layers.Conv2D(5, 1),
        ]
    )
    data = to_half(convert_onnx(model, "mask")).SerializeToString()
    made = Artifact("model.fp16.onnx", "onnx", "fp16", data)
    monkeypatch.setattr("edgeseg.export.pipeline.Conversion.in_float", lambda *arguments: made)
    with pytest.raises(EngineBuildError, match=r"\(Resize\).*tf_half_pixel_for_nn.*whole factors") as caught:
        export_model(checkpoint, None, ExportOptions(target="jetson", out=tmp_path))
    assert caught.value.exit_code == 4
    assert not list(tmp_path.iterdir())


@pytest.mark.heavy
@cases()
def test_every_model_is_built(rtx: Api, case: str) -> None:
    model = CASES[case].build(5)
    frames = np.random.default_rng(0).integers(0, 256, (2, *CASES[case].size, 3), np.uint8)
    graph = convert_onnx(model, "mask")
    for precision in ("fp16", "int8"):
        assert build_engine(rtx, case, _in_precision(graph, precision, frames), [GIB]).engine
