"""The project's own models through both converters, and the budgets of the acceptance on real streets."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from onnxruntime import InferenceSession

from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.selection import spread
from edgeseg.export.to_litert import convert_litert
from edgeseg.export.to_onnx import convert_onnx
from edgeseg.resize import resize_image, resize_mask
from edgeseg.training.checkpoint import CheckpointInfo, save_checkpoint
from edgeseg.training.data import open_dataset
from edgeseg.training.models import MODELS, build_model


def trained(name: str, dataset, height: int, width: int, epochs: int) -> keras.Model:
    """A model trained on 130 images at most: enough to tell classes apart, in seconds."""
    keras.utils.set_random_seed(5)
    samples = [dataset.read(item) for item in spread(dataset.items("train"), 130)]
    images = np.stack([resize_image(s.image, height, width) for s in samples])
    masks = np.stack([resize_mask(s.mask, height, width) for s in samples])
    options = {"encoder_weights": "none"} if name == "unet_efficientnetb3" else {}
    model = build_model(name, len(dataset.labels), height, width, **options)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.Adam(2e-3), loss, jit_compile=False)
    model.fit(images, masks, batch_size=8, epochs=epochs, verbose=0)
    return model


def varied(frames: np.ndarray) -> np.ndarray:
    """Frames like those of training, and dark, noisy, grey and random ones."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (4, *frames.shape[1:]), np.uint8)
    grey = np.stack([np.full(frames.shape[1:], level, np.uint8) for level in (0, 128, 255)])
    return np.concatenate([frames[:8], frames[:4] // 4, frames[4:8] ^ (noise // 8), noise, grey])


@pytest.mark.heavy
@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_project_agrees_with_keras_on_varied_frames(name, dataset, frames) -> None:
    model = trained(name, dataset, *frames.shape[1:3], epochs=1)
    inputs = varied(frames)
    expected = np.argmax(model.predict(inputs, verbose=0), axis=-1)
    assert len(np.unique(expected)) > 1
    runner = Interpreter(model_content=convert_litert(model, "mask", "fp32")).get_signature_runner("serve")
    litert = np.concatenate([runner(image=frame[None])["mask"] for frame in inputs])
    graph = convert_onnx(model, "mask").SerializeToString()
    session = InferenceSession(graph, providers=["CPUExecutionProvider"])
    onnx = np.concatenate([session.run(["mask"], {"image": frame[None]})[0] for frame in inputs])
    assert np.mean(litert == expected) >= 0.999
    assert np.mean(onnx == expected) >= 0.999


@pytest.fixture(scope="module")
def street_checkpoint(shared_data, tmp_path_factory) -> Path:
    dataset = open_dataset(f"camvid:{shared_data / 'camvid'}")
    path = tmp_path_factory.mktemp("streets") / "best.keras"
    info = CheckpointInfo(
        model="unet_mini",
        recipe={},
        recipe_hash="0" * 64,
        labels=dataset.labels.to_dict(),
        height=64,
        width=96,
        dataset=dataset.spec,
        dataset_fingerprint=dataset.fingerprint("train"),
        epoch=6,
        val_miou=None,
        edgeseg_version="0.1.0",
    )
    save_checkpoint(trained("unet_mini", dataset, 64, 96, epochs=6), path, info)
    return path


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.parametrize(
    ("target", "precision"),
    [("arm", "fp32"), ("x86", "fp32"), ("arm", "int8"), ("x86", "int8"), ("jetson", "int8")],
)
def test_on_real_streets_every_export_keeps_within_a_point(
    street_checkpoint, tmp_path, target, precision
) -> None:
    options = ExportOptions(target=target, precision=precision, out=tmp_path)
    result = export_model(street_checkpoint, None, options)
    for model in result.manifest.models:
        assert model.parity.samples == 101
        assert model.parity.drop_points <= 1.0
        assert model.parity.agreement >= (0.999 if model.precision == "fp32" else 0.98)
