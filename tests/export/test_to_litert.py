from __future__ import annotations

from collections import Counter

import keras
import numpy as np
import pytest
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema

from edgeseg.errors import ConversionError
from edgeseg.export import to_litert
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.litert_int8 import INPUT, LiteRTQuantiser

# Shares of equal pixels that the small, briefly trained model of these tests must keep.
NEEDED = {"fp32": 0.999, "fp16": 0.995, "int8": 0.965}


def convert_litert(model, output: str, precision: str, frames: np.ndarray | None = None) -> bytes:
    if precision == "int8":
        return LiteRTQuantiser(model, output, frames).quantise(Int8Settings()).data
    return to_litert.convert_litert(model, output, precision)


def run(data: bytes, frames: np.ndarray) -> list[dict[str, np.ndarray]]:
    runner = interpreter.Interpreter(model_content=data).get_signature_runner("serve")
    return [runner(image=frame[None]) for frame in frames]


def operators(data: bytes) -> Counter[int]:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    return Counter(model.operatorCodes[op.opcodeIndex].builtinCode for op in model.subgraphs[0].operators)


@pytest.mark.parametrize("precision", NEEDED)
def test_it_gives_keras_masks_from_the_same_pixels(model, frames, expected, precision) -> None:
    made = run(convert_litert(model, "mask", precision, frames), frames)
    masks = np.concatenate([outputs["mask"] for outputs in made])
    assert masks.dtype == np.uint8
    assert masks.shape == expected.shape
    assert np.mean(masks == expected) >= NEEDED[precision]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_confidence_is_the_probability_of_the_class_given(model, frames, expected, precision) -> None:
    made = run(convert_litert(model, "mask+confidence", precision, frames), frames[:6])
    confidence = np.concatenate([outputs["confidence"] for outputs in made])
    logits = model.predict(frames[:6], verbose=0)
    probability = np.exp(logits - logits.max(-1, keepdims=True))
    top = (probability / probability.sum(-1, keepdims=True)).max(-1)
    assert confidence.dtype == np.uint8
    tolerance = 1 if precision == "fp32" else 12
    assert np.abs(confidence.astype(int) - 255 * top).mean() <= tolerance


@pytest.mark.parametrize("precision", NEEDED)
def test_logits_stay_float(model, frames, expected, precision) -> None:
    (outputs,) = run(convert_litert(model, "logits", precision, frames), frames[:1])
    assert outputs["logits"].dtype == np.float32
    assert outputs["logits"].shape == (1, *expected.shape[1:], 8)
    assert np.mean(outputs["logits"].argmax(-1) == expected[:1]) >= NEEDED[precision] - 0.02


def test_the_signature_is_static_and_uint8(model) -> None:
    loaded = interpreter.Interpreter(model_content=convert_litert(model, "mask", "fp32"))
    (given,), (made,) = loaded.get_input_details(), loaded.get_output_details()
    assert (given["dtype"], list(given["shape_signature"])) == (np.uint8, [1, 64, 96, 3])
    assert (made["dtype"], list(made["shape_signature"])) == (np.uint8, [1, 64, 96])


def test_dilated_convolutions_stay_convolutions(model, frames) -> None:
    for precision in ("fp32", "int8"):
        found = operators(convert_litert(model, "mask", precision, frames))
        assert found[schema.BuiltinOperator.SPACE_TO_BATCH_ND] == 0
        assert found[schema.BuiltinOperator.CONV_2D] == 4


def steps_in_int8(quantiser: LiteRTQuantiser, *in_float: str) -> Counter[str]:
    """The kinds of the steps that give int8 where these layers stay in float."""
    made = quantiser.quantise(Int8Settings("minmax", frozenset(in_float))).data
    graph = schema.ModelT.InitFromPackedBuf(made, 0)
    kinds = {number: name for name, number in vars(schema.BuiltinOperator).items()}
    return Counter(
        kinds[graph.operatorCodes[op.opcodeIndex].builtinCode]
        for op in graph.subgraphs[0].operators
        if graph.subgraphs[0].tensors[op.outputs[0]].type == schema.TensorType.INT8
    )


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_a_layer_in_float_takes_the_steps_after_it_along() -> None:
    """And with all of them nothing is rounded: neither the image's scaling nor a normalisation."""
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = first = keras.layers.Conv2D(8, 3, padding="same")(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    x = keras.layers.Conv2D(8, 1)(keras.layers.LayerNormalization()(x))
    x = keras.layers.Conv2D(3, 1)(keras.layers.Add()([first, keras.layers.Softmax()(x)]))
    quantiser = LiteRTQuantiser(keras.Model(image, x), "mask", noise(4, 16, 16, 3))
    scaling, first_layer, second, third = quantiser.layers
    assert scaling == INPUT

    plain = steps_in_int8(quantiser)
    assert plain["SOFTMAX"] == 1
    assert plain - steps_in_int8(quantiser, scaling) >= Counter(MUL=1, ADD=1)
    assert steps_in_int8(quantiser, first_layer)["RSQRT"] == 0
    # The sum depends on the first layer too, and on the second last.
    without_second = steps_in_int8(quantiser, second)
    assert plain - without_second >= Counter(CONV_2D=1, SOFTMAX=1, ADD=1)
    assert without_second["RSQRT"] == 1
    assert plain["ADD"] - steps_in_int8(quantiser, third)["ADD"] == 0
    assert not steps_in_int8(quantiser, *quantiser.layers)


def test_a_step_that_gives_several_tensors_stays_in_float_with_its_layer() -> None:
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(8, 3, padding="same")(keras.layers.Rescaling(1 / 127.5, -1.0)(image))
    values, gate = keras.ops.split(x, 2, axis=-1)
    x = keras.layers.Conv2D(3, 1)(values * keras.ops.sigmoid(gate))
    quantiser = LiteRTQuantiser(keras.Model(image, x), "mask", noise(4, 16, 16, 3))
    _, first_layer, _ = quantiser.layers
    assert steps_in_int8(quantiser)["SPLIT"] == 1
    assert steps_in_int8(quantiser, first_layer)["SPLIT"] == 0
    assert not steps_in_int8(quantiser, *quantiser.layers)


def test_an_image_that_is_not_scaled_is_no_layer() -> None:
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(3, 3, padding="same")(keras.ops.cast(image, "float32"))
    quantiser = LiteRTQuantiser(keras.Model(image, x), "mask", noise(4, 16, 16, 3))
    assert INPUT not in quantiser.layers
    assert len(quantiser.layers) == 1


def test_batch_norm_is_folded_where_it_follows_its_convolution(model) -> None:
    found = operators(convert_litert(model, "mask", "fp32"))
    # Normalisation is one pair, the BatchNorm after an activation the other: the third one is gone.
    assert found[schema.BuiltinOperator.MUL] == 2


def test_int8_weights_take_a_quarter_of_the_space(model, frames) -> None:
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Conv2D(64, 3, padding="same")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Conv2D(64, 3, padding="same")(x)
    wide = keras.Model(image, x)
    some = frames[:4, :16, :16]
    sizes = {p: len(convert_litert(wide, "mask", p, some)) for p in ("fp32", "fp16", "int8")}
    assert sizes["fp16"] < 0.6 * sizes["fp32"]
    assert sizes["int8"] < 0.35 * sizes["fp32"]


def test_an_operation_that_litert_lacks_is_a_conversion_error() -> None:
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = keras.layers.Lambda(lambda x: keras.ops.erf(keras.ops.fft2((x, x))[0]))(
        keras.layers.Rescaling(1 / 255)(image)
    )
    with pytest.raises(ConversionError, match="LiteRT fp32") as caught:
        convert_litert(keras.Model(image, keras.layers.Conv2D(2, 1)(x)), "mask", "fp32")
    assert "\n" not in str(caught.value)


def test_nothing_reaches_the_terminal(model, frames, capfd) -> None:
    convert_litert(model, "mask", "int8", frames)
    assert capfd.readouterr() == ("", "")
