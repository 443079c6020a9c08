"""Every model trains, its checkpoint loads, and its exports give the masks of Keras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from onnxruntime import InferenceSession

from conftest import let_graphs_go
from edgeseg.export.to_litert import convert_litert
from edgeseg.export.to_onnx import convert_onnx
from edgeseg.training.checkpoint import load_checkpoint
from edgeseg.training.data.dataset import Dataset
from models_cases import CASES, cases

STEPS = 10
BATCH = 8
AGREEMENT = 0.999
# Their blocks are in the others, or in the tests of the models themselves, which run every time.
LARGE = (
    *("unet_mini_source", "attention_unet", "unet", "ensemble", "two_stage_unet"),
    *("deeplabv3plus", "segformer_b0"),
)


@pytest.fixture(autouse=True)
def _one_model_at_a_time() -> Iterator[None]:
    """All the larger ones in one process took 18 GiB."""
    yield
    let_graphs_go()


@pytest.mark.heavy
@pytest.mark.timeout(1800)  # the deepest take ten minutes of a busy core
@cases(large=LARGE)
def test_it_trains_and_its_checkpoint_and_exports_agree_with_it(
    case: str, dataset: Dataset, frames: np.ndarray, save, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(5)
    model = CASES[case].build(len(dataset.labels), frames.shape[1:3])
    masks = np.stack([sample.mask for sample in dataset.samples("train")])
    losses = _train(model, frames[:BATCH], masks[:BATCH])
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]

    inputs = _varied(frames)
    logits = model.predict(inputs, batch_size=1, verbose=0)
    expected = logits.argmax(axis=-1)
    assert len(np.unique(expected)) > 1, "of one class alone, agreement would prove nothing"
    loaded, info = load_checkpoint(save(model, tmp_path / "model.keras", dataset.labels))
    assert info is not None
    assert np.allclose(loaded.predict(inputs, batch_size=1, verbose=0), logits, atol=1e-4)
    assert np.mean(_litert(loaded, inputs) == expected) >= AGREEMENT
    assert np.mean(_onnx(loaded, inputs) == expected) >= AGREEMENT


def _train(model: keras.Model, images: np.ndarray, masks: np.ndarray) -> list[float]:
    """The loss of each of a few steps on one batch."""
    for layer in model._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            # So that in a few steps its moving averages become those of these images.
            layer.trainable, layer.momentum = True, 0.5
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.Adam(1e-3), loss, jit_compile=False)
    return [float(model.train_on_batch(images, masks)) for _ in range(STEPS)]


def _varied(frames: np.ndarray) -> np.ndarray:
    """Drawn scenes: as they are, dark, and with noise."""
    noise = np.random.default_rng(0).integers(0, 32, (4, *frames.shape[1:]), np.uint8)
    return np.concatenate([frames[:8], frames[8:12] // 4, frames[12:16] ^ noise])


def _litert(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    runner = Interpreter(model_content=convert_litert(model, "mask", "fp32")).get_signature_runner("serve")
    return np.concatenate([runner(image=image[None])["mask"] for image in inputs])


def _onnx(model: keras.Model, inputs: np.ndarray) -> np.ndarray:
    graph = convert_onnx(model, "mask").SerializeToString()
    session = InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["mask"], {"image": image[None]})[0] for image in inputs])
