"""SegFormer against KerasHub's own on a square, and by hand on a rectangle."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.training.checkpoint import load_checkpoint, save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo
from edgeseg.training.models import build_model
from edgeseg.training.precision import dtype_policy

keras_hub = pytest.importorskip("keras_hub", reason="pip install 'edgeseg[segformer]'")

from edgeseg.training.models import segformer
from edgeseg.training.pixel_scales import IMAGENET_DEVIATION, IMAGENET_MEAN

PUBLISHED_MILLIONS = ((3.4, 0.4), (13.1, 0.6), (24.2, 3.3), (44.0, 3.3), (60.8, 3.3), (81.4, 3.3))
SIZES = [pytest.param(size, marks=[pytest.mark.large] * (size > 1)) for size in range(6)]


def kerashub_transformer(variant: str, side: int = 64) -> keras.Model:
    """KerasHub's own Mix Transformer, with weights that no initializer gives."""
    known = segformer.VARIANTS[variant]
    transformer = keras_hub.models.MiTBackbone(
        layerwise_depths=list(known.depths),
        num_layers=4,
        layerwise_num_heads=list(segformer.HEADS),
        layerwise_sr_ratios=list(segformer.REDUCTIONS),
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=list(segformer.PATCHES),
        layerwise_strides=list(segformer.STRIDES),
        image_shape=(side, side, 3),
        hidden_dims=list(known.channels),
    )
    rng = np.random.default_rng(0)
    transformer.set_weights([w + rng.normal(0, 0.05, w.shape) for w in transformer.get_weights()])
    return transformer


@pytest.fixture(scope="module")
def transformer() -> keras.Model:
    return kerashub_transformer("b0")


@pytest.fixture(scope="module")
def preset(transformer: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mit_b0")
    transformer.save_to_preset(str(folder))
    return str(folder)


def test_on_a_square_it_is_kerashubs_segmenter(transformer: keras.Model, preset: str) -> None:
    known = segformer.VARIANTS["b0"]
    backbone = keras_hub.models.SegFormerBackbone(image_encoder=transformer, projection_filters=known.decoder)
    theirs = keras_hub.models.SegFormerImageSegmenter(backbone=backbone, num_classes=5)
    ours = build_model("segformer_b0", 5, 64, 64, encoder_weights=preset)
    for channels, projection in zip(known.channels, backbone.mlp_blocks, strict=True):
        ours.get_layer(f"linear_{channels}").set_weights(projection.get_weights())
    (fuse,) = [layer for layer in ours.layers if isinstance(layer, keras.Sequential)]
    (head,) = [layer for layer in ours.layers if isinstance(layer, keras.layers.Conv2D)]
    fuse.set_weights(backbone.linear_fuse.get_weights())
    head.set_weights(theirs.output_segmentation_head.get_weights())
    image = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    pixels = ((image / 255 - IMAGENET_MEAN) / IMAGENET_DEVIATION).astype(np.float32)
    expected = keras.ops.convert_to_numpy(theirs(pixels, training=False))
    assert np.allclose(ours(image, training=False), expected, atol=1e-4)
    assert expected.std() > 0.01


@pytest.mark.parametrize("size", SIZES)
def test_it_has_as_many_parameters_as_published(size: int) -> None:
    """Xie et al., Table 1, on ADE20K's 150 classes: encoder and decoder in millions, each to one decimal."""
    encoder, decoder = PUBLISHED_MILLIONS[size]
    model = build_model(f"segformer_b{size}", 150, 64, 64)
    millions = sum(int(np.prod(v.shape)) for v in model.trainable_variables) / 1e6
    assert millions == pytest.approx(encoder + decoder, abs=0.1)


def test_attention_on_a_rectangle_is_that_of_the_paper() -> None:
    """By hand: each token attends to those of a map reduced by 2, in heads of 4 channels."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1, 4, 6, 8)).astype(np.float32)
    layer = segformer.MapAttention(8, num_heads=2, sr_ratio=2)
    got = keras.ops.convert_to_numpy(layer(x, training=False))
    weights = {name: [w.numpy() for w in getattr(layer, name).weights] for name in ("q", "k", "v", "proj")}
    reduced = keras.ops.convert_to_numpy(layer.norm(layer.sr(x))).reshape(6, 8)
    q, k, v = (
        tokens @ weights[name][0] + weights[name][1]
        for name, tokens in (("q", x.reshape(24, 8)), ("k", reduced), ("v", reduced))
    )
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        scores = np.exp(q[:, part] @ k[:, part].T / 2)
        heads.append(scores / scores.sum(axis=1, keepdims=True) @ v[:, part])
    expected = np.concatenate(heads, axis=1) @ weights["proj"][0] + weights["proj"][1]
    assert np.allclose(got.reshape(24, 8), expected, atol=1e-5)


def test_the_trainer_finds_the_encoder() -> None:
    model = build_model("segformer_b0", 5, 64, 96)
    assert [layer.name for layer in model.layers].count("encoder") == 1
    outputs = model.get_layer("encoder").output
    assert [tuple(level.shape[1:]) for level in outputs] == [
        (16, 24, 32), (8, 12, 64), (4, 6, 160), (2, 3, 256),
    ]  # fmt: skip


def test_a_preset_of_another_variant_is_refused(preset: str) -> None:
    with pytest.raises(UsageError, match=r"MiT-B1: mit_b1_ade20k_512.*found blocks \(2, 2, 2, 2\)"):
        build_model("segformer_b1", 5, 64, 64, encoder_weights=preset)


def test_a_preset_that_cannot_be_had_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mit_b0_cityscapes_1024.*encoder_weights=none"):
        build_model("segformer_b0", 5, 64, 64, encoder_weights=str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"drop_path": 1.0}, "drop_path.*less than 1"), ({"encoder_weights": 3}, "encoder_weights")],
)
def test_an_options_value_that_does_not_fit_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_model("segformer_b0", 5, 64, 64, **options)


def test_without_kerashub_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "keras_hub"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "keras_hub.models", None)
    monkeypatch.delitem(sys.modules, segformer.__name__)
    with pytest.raises(MissingExtraError, match=r"keras-hub.*edgeseg\[segformer\]"):
        importlib.import_module(segformer.__name__)


@pytest.mark.heavy
def test_a_file_of_it_loads_in_a_process_that_never_built_one(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    build_model("segformer_b0", 5, 64, 64).save(path)
    code = (
        "import json, sys, zipfile, keras\n"
        "from edgeseg.training.models.own_layers import import_own_layers\n"
        "import_own_layers(json.loads(zipfile.ZipFile(sys.argv[1]).read('config.json')))\n"
        "print(keras.saving.load_model(sys.argv[1], safe_mode=True).output_shape)"
    )
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert result.stdout.strip() == "(None, 64, 64, 5)", result.stderr


@pytest.mark.parametrize("around", ["float32", "mixed_bfloat16"])
def test_what_was_trained_in_mixed_precision_loads(around: str, tmp_path: Path) -> None:
    """KerasHub's blocks make their layers in the global policy, whatever the policy of the block."""
    info = CheckpointInfo(
        model="segformer_b0",
        recipe={},
        recipe_hash="ab" * 32,
        labels=LabelSet("two", tuple(LabelClass(i, str(i), (i, i, i)) for i in range(2))).to_dict(),
        height=64,
        width=64,
        dataset="two",
        dataset_fingerprint="cd" * 32,
        epoch=1,
        val_miou=None,
        edgeseg_version="0.1.0",
    )
    with dtype_policy("mixed_bfloat16"):
        model = build_model("segformer_b0", 2, 64, 64, encoder_weights="none")
    save_checkpoint(model, tmp_path / "mixed.keras", info)
    with dtype_policy(around):
        loaded, _info = load_checkpoint(tmp_path / "mixed.keras")
    policies = {layer.dtype_policy.name for layer in loaded._flatten_layers()}
    assert policies == {"float32"}
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), loaded.get_weights(), strict=True))
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    mixed, plain = np.asarray(model(image), np.float32), np.asarray(loaded(image))
    assert np.abs(mixed - plain).max() < 0.05 * np.abs(plain).max()
