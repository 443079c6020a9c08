from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

import toys
from edgeseg.errors import ConversionError
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import ignore
from edgeseg.export.to_onnx import convert_onnx
from edgeseg.export.to_openvino import (
    _MOVES,
    OpenVINOQuantiser,
    _quantised,
    _read,
    _saved,
    convert_openvino,
)
from edgeseg.runtimes.openvino import import_openvino
from edgeseg.runtimes.openvino_ir import unsafe_part

# Shares of equal pixels that the small, briefly trained model of these tests must keep.
NEEDED = {"fp32": 0.999, "fp16": 0.995, "int8": 0.97}


def compiled(ir: ModelBytes):
    core = import_openvino().Core()
    graph = core.read_model(model=ir.data, weights=ir.weights)
    return core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def run(ir: ModelBytes, frames: np.ndarray) -> dict[str, np.ndarray]:
    loaded = compiled(ir)
    made = [loaded(frame[None]) for frame in frames]
    return {
        port.get_any_name(): np.concatenate([outputs[index] for outputs in made])
        for index, port in enumerate(loaded.outputs)
    }


def quantised(graph: onnx.ModelProto, frames: np.ndarray, *more) -> ModelBytes:
    return OpenVINOQuantiser(graph, frames, *more).quantise(Int8Settings())


@pytest.fixture(scope="module")
def graph(model) -> onnx.ModelProto:
    return convert_onnx(model, "mask")


@pytest.fixture(scope="module")
def int8(graph, frames) -> ModelBytes:
    return quantised(graph, frames)


@pytest.mark.parametrize("precision", NEEDED)
def test_it_gives_keras_masks_from_the_same_pixels(graph, int8, frames, expected, precision) -> None:
    made = int8 if precision == "int8" else convert_openvino(graph, "fp16" if precision == "fp16" else "fp32")
    masks = run(made, frames)["mask"]
    assert (masks.dtype, masks.shape) == (np.uint8, expected.shape)
    assert np.mean(masks == expected) >= NEEDED[precision]


@pytest.mark.parametrize(
    ("output", "ports"),
    [
        ("mask", {"mask": ("u8", "[1,64,96]")}),
        ("logits", {"logits": ("f32", "[1,64,96,8]")}),
        ("mask+confidence", {"mask": ("u8", "[1,64,96]"), "confidence": ("u8", "[1,64,96]")}),
    ],
)
def test_the_graph_keeps_the_contract(model, output, ports) -> None:
    loaded = compiled(convert_openvino(convert_onnx(model, output), "fp32"))
    (given,) = loaded.inputs
    assert (given.element_type.get_type_name(), str(given.partial_shape)) == ("u8", "[1,64,96,3]")
    assert ports == {
        port.get_any_name(): (port.element_type.get_type_name(), str(port.partial_shape))
        for port in loaded.outputs
    }


def test_confidence_is_the_probability_of_the_class_given(model, frames) -> None:
    made = run(convert_openvino(convert_onnx(model, "mask+confidence"), "fp32"), frames[:6])
    logits = model.predict(frames[:6], verbose=0)
    probability = np.exp(logits - logits.max(-1, keepdims=True))
    top = (probability / probability.sum(-1, keepdims=True)).max(-1)
    assert np.abs(made["confidence"].astype(int) - 255 * top).max() <= 1


def test_every_convolution_is_quantised_and_its_weights_take_a_byte(graph, int8) -> None:
    kinds = re.findall(r'<layer [^>]*type="(\w+)"', int8.data.decode())
    assert kinds.count("FakeQuantize") >= 5
    constants = re.findall(r'<data element_type="i8" [^>]*size="(\d+)"', int8.data.decode())
    weights = sum(int(np.prod(w.dims)) for w in graph.graph.initializer if len(w.dims) == 4)
    assert sum(map(int, constants)) >= 0.9 * weights


def test_what_is_written_passes_the_vehicles_check(graph, int8) -> None:
    assert unsafe_part(int8.data) is None
    assert unsafe_part(convert_openvino(graph, "fp16").data) is None


def test_every_calibration_frame_is_seen(graph, frames) -> None:
    told = []
    quantised(graph, frames[:5], lambda finished, total: told.append((finished, total)))
    assert told[-1] == (5, 5)
    assert set(told) == {(n, 5) for n in range(1, 6)}


def test_layers_that_are_named_stay_in_float(graph, frames) -> None:
    quantiser = OpenVINOQuantiser(graph, frames[:4])
    assert len(quantiser.layers) == 5
    some, every = frozenset(quantiser.layers[1:3]), frozenset(quantiser.layers)
    for one in (quantiser, quantiser.quick()):
        files = [
            one.quantise(Int8Settings(float_layers=floats)).data for floats in (frozenset(), some, every)
        ]
        counts = [data.count(b"FakeQuantize") for data in files]
        assert counts[0] > counts[1] > counts[2] == 0


def test_roundings_taken_away_leave_those_that_a_setting_alone_would_have(graph, frames) -> None:
    """Wherever a rounding stays, NNCF would put it for that setting, and the other way about."""
    few = frames[:4]
    quick = OpenVINOQuantiser(graph, few).quick()
    every = frozenset(quick.layers)
    for in_int8 in (frozenset(), *({layer} for layer in quick.layers), every):
        settings = Int8Settings(float_layers=every - in_int8)
        made = quick.quantise(settings)
        anew = _saved(_quantised(_read(graph), settings, few, ignore, can_be_undone=True))
        assert roundings(made) == roundings(anew), in_int8
        # Not of a layer alone: the first that NNCF rounds has kernels of 7 bits, and alone it is the first.
        if len(in_int8) != 1:
            np.testing.assert_array_equal(run(made, few)["mask"], run(anew, few)["mask"])


def roundings(ir: ModelBytes) -> set[tuple[str, int]]:
    """What takes rounded values, and at which of its inputs."""
    graph = import_openvino().Core().read_model(model=ir.data, weights=ir.weights)
    return {
        (op.get_friendly_name(), port.get_index())
        for op in graph.get_ops()
        for port in op.inputs()
        if port.get_source_output().get_node().get_type_name() == "FakeQuantize"
    }


def test_roundings_are_looked_for_behind_all_that_nncf_moves_them_across() -> None:
    from nncf.openvino.graph.metatypes.groups import QUANTIZE_AGNOSTIC_OPERATIONS

    kinds = {name for operation in QUANTIZE_AGNOSTIC_OPERATIONS for name in operation.op_names}
    assert kinds <= _MOVES


def test_a_rounding_before_what_moves_values_goes_with_the_layer_behind_it(frames) -> None:
    image = keras.Input(frames.shape[1:], dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(image)
    x = keras.layers.ReLU()(keras.layers.Conv2D(4, 3, padding="same", name="first")(x))
    x = keras.layers.MaxPooling2D(3, 2)(keras.layers.ZeroPadding2D(1)(x))
    x = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(3, 1, name="logits")(x))
    quick = OpenVINOQuantiser(convert_onnx(keras.Model(image, x), "mask"), frames[:4]).quick()
    assert roundings(quick.quantise(Int8Settings()))
    assert not roundings(quick.quantise(Int8Settings(float_layers=frozenset(quick.layers))))


def test_ranges_by_percentile_are_others_and_no_worse_than_useless(graph, int8, frames, expected) -> None:
    made = OpenVINOQuantiser(graph, frames).quantise(Int8Settings("percentile"))
    assert made != int8
    assert np.mean(run(made, frames)["mask"] == expected) >= NEEDED["int8"] - 0.02


def test_an_operation_that_openvino_lacks_is_a_conversion_error(graph) -> None:
    strange = onnx.ModelProto()
    strange.CopyFrom(graph)
    strange.graph.node[0].op_type = "Evil"
    with pytest.raises(ConversionError, match="OpenVINO fp32"):
        convert_openvino(strange, "fp32")


def test_nothing_reaches_the_terminal() -> None:
    """In a process of its own: NNCF writes through Python, past what pytest's capture gives it."""
    code = """
import numpy as np, onnx, toys
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.to_openvino import OpenVINOQuantiser
graph = onnx.load_from_string(toys.onnx_model(32, 64))
made = OpenVINOQuantiser(graph, np.zeros((4, 32, 64, 3), np.uint8)).quantise(Int8Settings())
assert made.weights
"""
    paths = os.pathsep.join([str(Path(toys.__file__).parent), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
