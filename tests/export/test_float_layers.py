"""What stays in float in a quantised ONNX graph has to compute in float in ONNX Runtime too."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from onnx import numpy_helper

from edgeseg.export import quantise
from edgeseg.export.float_layers import guard_float_layers
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.quantise import RECIPES, OnnxQuantiser
from edgeseg.export.to_onnx import convert_onnx

SIZE = 16


def small_model(kind: str, *, bias: bool) -> keras.Model:
    keras.utils.set_random_seed(4)
    middle = {
        "Conv": lambda: layers.Conv2D(8, 1, use_bias=bias, name="middle"),
        "depthwise Conv": lambda: layers.DepthwiseConv2D(3, padding="same", use_bias=bias, name="middle"),
        "ConvTranspose": lambda: layers.Conv2DTranspose(8, 2, 2, use_bias=bias, name="middle"),
    }[kind]()
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same")(layers.Rescaling(1 / 255)(image)))
    x = layers.Conv2D(4, 1, name="logits")(layers.ReLU()(middle(x)))
    return keras.Model(image, layers.Resizing(SIZE, SIZE)(x))


def middle_of(graph: onnx.ModelProto) -> onnx.NodeProto:
    _, middle, _ = [node for node in graph.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return middle


def optimised(model: bytes, path: Path) -> onnx.ModelProto:
    """What ONNX Runtime runs in place of a graph, but for its own kinds of nodes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def run(model: bytes, frames: np.ndarray, level: str) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"image": frame[None]})[0] for frame in frames])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Conv", "depthwise Conv", "ConvTranspose"])
def test_onnx_runtime_does_not_round_what_stays_in_float(kind, bias, tmp_path, monkeypatch) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    graph = convert_onnx(small_model(kind, bias=bias), "logits")
    quantiser = OnnxQuantiser(graph, RECIPES["onnxruntime"], frames)
    settings = Int8Settings(float_layers=frozenset([middle_of(graph).name]))

    def rounds_weights(data: bytes, name: str) -> bool:
        ran = optimised(data, tmp_path / name)
        makers = {output: node.op_type for node in ran.graph.node for output in node.output}
        return makers.get(middle_of(ran).input[1]) == "DequantizeLinear"

    guarded = quantiser.quantise(settings).data
    assert not rounds_weights(guarded, "guarded.onnx")
    made = [run(guarded, frames, level) for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")]
    assert np.abs(made[0] - made[1]).mean() < 0.02 * np.abs(made[1]).mean()

    monkeypatch.setattr(quantise, "guard_float_layers", lambda model, float_layers: None)
    unguarded = quantiser.quantise(settings).data
    assert rounds_weights(unguarded, "unguarded.onnx"), "ONNX Runtime rounds no more: the guard may go"


def test_the_bias_stays_what_it_was_and_nothing_unused_is_left() -> None:
    model = small_model("Conv", bias=True)
    values = np.linspace(-3, 0.001, 8, dtype=np.float32)
    middle = model.get_layer("middle")
    middle.set_weights([middle.get_weights()[0], values])
    graph = convert_onnx(model, "logits")
    guard_float_layers(graph, {middle_of(graph).name})
    onnx.checker.check_model(graph, full_check=True)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    (bias,) = [node for node in graph.graph.node if node.op_type == "DequantizeLinear"]
    steps, scale = (constants[name] for name in bias.input)
    assert (steps.dtype, scale.shape) == (np.int32, ())
    np.testing.assert_allclose(steps.astype(np.float32) * scale, values, atol=1e-7)
    assert middle_of(graph).input[2] == bias.output[0]
    used = {name for node in graph.graph.node for name in node.input}
    assert set(constants) <= used


def test_other_layers_are_left_alone() -> None:
    graph = convert_onnx(small_model("Conv", bias=True), "logits")
    before = graph.SerializeToString()
    guard_float_layers(graph, set())
    assert graph.SerializeToString() == before
