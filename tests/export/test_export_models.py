"""The budgets of the acceptance on real streets."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.selection import spread
from edgeseg.resize import resize_image, resize_mask
from edgeseg.training.checkpoint import save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo
from edgeseg.training.data import open_dataset
from edgeseg.training.models import build_model


def trained(name: str, dataset, height: int, width: int, epochs: int) -> keras.Model:
    """A model trained on 130 images at most: enough to tell classes apart, in seconds."""
    keras.utils.set_random_seed(5)
    samples = [dataset.read(item) for item in spread(dataset.items("train"), 130)]
    images = np.stack([resize_image(s.image, height, width) for s in samples])
    masks = np.stack([resize_mask(s.mask, height, width) for s in samples])
    model = build_model(name, len(dataset.labels), height, width)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.Adam(2e-3), loss, jit_compile=False)
    model.fit(images, masks, batch_size=8, epochs=epochs, verbose=0)
    return model


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


@pytest.mark.large
@pytest.mark.data
@pytest.mark.parametrize(
    ("target", "kind", "precision"),
    [
        ("arm", "litert", "fp32"),
        ("x86", "onnx", "fp32"),
        ("x86", "openvino", "fp32"),
        ("arm", "litert", "int8"),
        ("x86", "onnx", "int8"),
        ("x86", "openvino", "int8"),
        ("jetson", "onnx", "int8"),
    ],
)
def test_on_real_streets_every_export_keeps_within_a_point(
    street_checkpoint, tmp_path, target, kind, precision
) -> None:
    options = ExportOptions(target=target, format=kind, precision=precision, out=tmp_path)
    result = export_model(street_checkpoint, None, options)
    for model in result.manifest.models:
        assert model.parity.samples == 101
        assert model.parity.drop_points <= 1.0
        assert model.parity.agreement >= (0.999 if model.precision == "fp32" else 0.98)
