"""Checkpoints: what they hold, that they load anywhere, and what damaged ones give."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeseg.atomic import StagedFile, clear_leftovers
from edgeseg.errors import DataError, UsageError
from edgeseg.training.checkpoint import load_checkpoint, load_trainable, restore, save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo, read_info
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.models import build_model
from edgeseg.training.predictor import keras_predictor

IMAGE = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
INFO = CheckpointInfo(
    model="unet_mini",
    recipe={"data": "synthetic"},
    recipe_hash="0" * 64,
    labels={"name": "n", "ignore_index": 255, "classes": [{"id": 0, "name": "a", "color": [1, 2, 3]}]},
    height=16,
    width=16,
    dataset="synthetic",
    dataset_fingerprint="f" * 64,
    epoch=3,
    val_miou=0.5,
    edgeseg_version="0.1.0",
)


def small_model(policy: str = "float32") -> keras.Model:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model("unet_mini", 3, 16, 16, channels=4)
    finally:
        keras.config.set_dtype_policy(before)
    model.compile(keras.optimizers.AdamW(1e-2), NamedLoss("dice", 3), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8), rng.integers(0, 3, (2, 16, 16)).astype(
        np.uint8
    )


def test_round_trip_of_model_and_info(tmp_path: Path) -> None:
    model, path = small_model(), tmp_path / "weights" / "best.keras"
    save_checkpoint(model, path, INFO)
    again, info = load_checkpoint(path)
    assert info == INFO == read_info(path)
    assert info.label_set().names == ("a",)
    assert np.array_equal(keras_predictor(again)(IMAGE), keras_predictor(model)(IMAGE))
    assert [p.name for p in path.parent.iterdir()] == ["best.keras"], "no staging file is left"


def test_the_file_needs_no_edgeseg_to_load(tmp_path: Path) -> None:
    model, path = small_model(), tmp_path / "last.keras"
    model.train_on_batch(*batch())
    save_checkpoint(model, path, INFO)
    with zipfile.ZipFile(path) as archive:
        config = archive.read("config.json").decode()
    assert "edgeseg" not in config
    assert "compile_config" not in json.loads(config)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_loads_as_float32(policy: str, tmp_path: Path) -> None:
    model, path = small_model(policy), tmp_path / "mixed.keras"
    save_checkpoint(model, path, INFO)
    loaded, _ = load_checkpoint(path)
    assert {layer.compute_dtype for layer in loaded.layers} <= {"float32", "uint8"}
    logits = loaded(IMAGE[None], training=False)
    assert np.allclose(logits, model(IMAGE[None], training=False), atol=0.1)
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_optimizer_state_is_restored(policy: str, tmp_path: Path) -> None:
    model, path = small_model(policy), tmp_path / "last.keras"
    for _ in range(3):
        model.train_on_batch(*batch())
    save_checkpoint(model, path, INFO)
    again = small_model(policy)
    restore(again, path)
    assert int(again.optimizer.iterations) == 3
    for a, b in zip(again.optimizer.variables, model.optimizer.variables, strict=True):
        assert np.array_equal(a, b), a.path


def test_a_keras_file_of_another_origin_has_no_info(tmp_path: Path) -> None:
    path = tmp_path / "plain.keras"
    small_model().save(path)
    assert read_info(path) is None


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = small_model(), tmp_path / "last.keras"
    save_checkpoint(model, path, INFO)
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(model, path, INFO)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file_folder_and_other_suffix(tmp_path: Path) -> None:
    other = tmp_path / "model.h5"
    other.touch()
    for path, found in (
        (tmp_path / "no.keras", "nothing there"),
        (tmp_path, "a folder"),
        (other, "another file"),
    ):
        with pytest.raises(UsageError, match=f"a .keras file, found {found}"):
            load_checkpoint(path)


@pytest.mark.parametrize("damage", ["truncated", "no archive", "not a model", "info"])
def test_damaged_file(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    save_checkpoint(small_model(), path, INFO)
    data = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "no archive":
        path.write_bytes(b"hello")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("edgeseg.json", "{}" if damage == "info" else INFO.model_dump_json())
            archive.writestr("config.json", "{}")
    with pytest.raises(DataError, match=r"model\.keras: expected a whole \.keras file"):
        load_checkpoint(path)


def test_code_in_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.keras"
    inputs = keras.Input((4, 4, 3))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(path)
    with pytest.raises(DataError, match="evil"):
        load_checkpoint(path)


@pytest.mark.filterwarnings("ignore:Skipping nested")
def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.keras"
    save_checkpoint(small_model(), path, INFO)
    other = build_model("unet_mini", 3, 16, 16, channels=8)
    other.compile("adam", NamedLoss("dice", 3))
    with pytest.raises(DataError, match=r"last\.keras"):
        restore(other, path)


@pytest.mark.parametrize("policies", [("mixed_float16", "float32"), ("float32", "mixed_float16")])
def test_an_optimizer_of_another_precision_is_refused(policies: tuple[str, str], tmp_path: Path) -> None:
    """Keras itself would warn and train on with a fresh optimiser."""
    saved, wanted = policies
    path = tmp_path / "last.keras"
    save_checkpoint(small_model(saved), path, INFO)
    with pytest.raises(DataError, match=r"last\.keras"):
        restore(small_model(wanted), path)


def test_a_file_without_an_optimizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.keras"
    build_model("unet_mini", 3, 16, 16, channels=4).save(path)
    with pytest.raises(DataError, match="Skipping variable loading for optimizer"):
        restore(small_model(), path)


def test_a_model_to_train_on_keeps_its_precision_and_the_order_of_its_variables(tmp_path: Path) -> None:
    """The optimiser's state is kept by the variables' order."""
    model, path = small_model("mixed_bfloat16"), tmp_path / "last.keras"
    save_checkpoint(model, path, INFO)
    again = load_trainable(path)
    assert again.get_layer("head").compute_dtype == "bfloat16"
    assert [v.path for v in again.variables] == [v.path for v in model.variables]


def test_what_a_kill_leaves_at_any_moment_is_found_again(tmp_path: Path, monkeypatch) -> None:
    """Killed while the archive that Keras wrote is written once more: two staging files lie there."""
    path = tmp_path / "last.keras"
    save_checkpoint(small_model(), path, INFO)

    class Killed:
        def save(self, staging: Path) -> None:
            staging.write_bytes(path.read_bytes())
            monkeypatch.setattr(zipfile.ZipFile, "writestr", killed)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StagedFile, "discard", lambda self: None)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(Killed(), path, INFO)
    assert len(list(tmp_path.iterdir())) == 3
    clear_leftovers(path)
    assert list(tmp_path.iterdir()) == [path]
