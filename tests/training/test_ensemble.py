"""``ensemble``: the mean of its members' probabilities, and a checkpoint like any other."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.special import softmax

from edgeseg.cli import main
from edgeseg.errors import DataError, UsageError
from edgeseg.training.checkpoint import load_checkpoint, save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo
from edgeseg.training.data import open_dataset
from edgeseg.training.models import build_model
from edgeseg.training.models.ensemble import ensemble, open_ensemble

CLASSES = 3
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)


def member(seed: int, height: int = 16, classes: int = CLASSES, **options: Any) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return build_model("unet_mini", classes, height, 16, **{"channels": 2, **options})


@pytest.fixture
def checkpoint(bands: str, tmp_path: Path) -> Any:
    """``checkpoint(name, seed)``: a file of a model, as ``edgeseg train`` writes it."""
    dataset = open_dataset(bands)

    def write(name: str, seed: int, **changes: Any) -> Path:
        info = CheckpointInfo(
            model="unet_mini",
            recipe={
                "data": bands,
                "val_split": "val",
                "model": "unet_mini",
                "model_options": {"channels": 2},
            },
            recipe_hash=f"{seed}" * 64,
            labels=dataset.labels.to_dict(),
            height=16,
            width=16,
            dataset=bands,
            dataset_fingerprint="0" * 64,
            epoch=3,
            val_miou=0.5,
            edgeseg_version="0.1.0",
        )
        path = tmp_path / name
        save_checkpoint(member(seed), path, info.model_copy(update=changes))
        return path

    return write


def test_its_softmax_is_the_mean_of_the_members() -> None:
    models = [member(seed, channels=channels) for seed, channels in ((1, 2), (2, 3), (3, 2))]
    joined = ensemble(models)
    expected = np.mean([softmax(model.predict(IMAGES, verbose=0), axis=-1) for model in models], axis=0)
    logits = joined.predict(IMAGES, verbose=0)
    assert np.allclose(softmax(logits, axis=-1), expected, atol=1e-6)
    assert np.isclose(np.exp(logits).sum(axis=-1), 1, atol=1e-5).all()
    assert [layer.name for layer in joined.layers if isinstance(layer, keras.Model)] == [
        "member1", "member2", "member3",
    ]  # fmt: skip


def test_a_class_that_no_member_believes_in_stays_finite() -> None:
    models = [member(seed) for seed in (1, 2)]
    for model in models:
        kernel, bias = model.get_layer("head").get_weights()
        model.get_layer("head").set_weights([kernel, bias + np.array([0, 0, -1e4])])
    logits = ensemble(models).predict(IMAGES, verbose=0)
    assert np.isfinite(logits).all()
    assert (logits[..., 2] < -15).all()


def test_auxiliary_outputs_are_left_out() -> None:
    keras.utils.set_random_seed(4)
    options = {"first_channels": 2, "second_channels": 2, "reduction": 2}
    both = [build_model("two_stage_unet", CLASSES, 32, 32, **options) for _ in range(2)]
    assert ensemble(both).output_shape == (None, 32, 32, CLASSES)


def test_members_of_another_size_or_of_other_classes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"member 2 .*expected 16x16 pixels and 3 classes.*found 24x16"):
        ensemble([member(1), member(2, height=24)])
    with pytest.raises(UsageError, match="found 16x16 pixels and 4 classes"):
        ensemble([member(1), member(2, classes=4)])
    with pytest.raises(UsageError, match="two models or more, found 1"):
        ensemble([member(1)])


def test_build_takes_checkpoints_as_its_option(checkpoint: Any) -> None:
    paths = [str(checkpoint(f"{seed}.keras", seed)) for seed in (1, 2)]
    joined = build_model("ensemble", CLASSES, 16, 16, checkpoints=paths)
    expected = ensemble([member(1), member(2)])
    assert np.allclose(joined.predict(IMAGES, verbose=0), expected.predict(IMAGES, verbose=0), atol=1e-5)
    with pytest.raises(UsageError, match=r"1\.keras: expected 24x16"):
        build_model("ensemble", CLASSES, 24, 16, checkpoints=paths)
    for wrong in ((), paths[:1], "a.keras", [1, 2]):
        with pytest.raises(UsageError, match=r"model_options\.checkpoints: expected the paths of two"):
            build_model("ensemble", CLASSES, 16, 16, checkpoints=wrong)


def test_its_checkpoint_says_what_it_is(checkpoint: Any, tmp_path: Path) -> None:
    paths = [checkpoint(f"{seed}.keras", seed) for seed in (1, 2)]
    model, info = open_ensemble(paths)
    assert (info.model, info.epoch, info.val_miou) == ("ensemble", 0, None)
    assert info.recipe["model"] == "ensemble"
    assert info.recipe["model_options"] == {"checkpoints": [str(path) for path in paths]}
    assert info.recipe_hash not in {f"{seed}" * 64 for seed in (1, 2)}
    save_checkpoint(model, tmp_path / "both.keras", info)
    again, kept = load_checkpoint(tmp_path / "both.keras")
    assert kept == info
    assert np.allclose(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6)


def test_members_must_be_checkpoints_of_the_same_classes(checkpoint: Any, tmp_path: Path) -> None:
    path = checkpoint("1.keras", 1)
    others = {"name": "other", "classes": [{"id": i, "name": f"c{i}", "color": [i, 0, 0]} for i in range(3)]}
    with pytest.raises(
        UsageError, match=r"2\.keras: expected the classes of .*1\.keras: ground, sky, box, found c0"
    ):
        open_ensemble([path, checkpoint("2.keras", 2, labels=others)])
    member(2).save(tmp_path / "foreign.keras")
    with pytest.raises(DataError, match="another origin"):
        open_ensemble([path, tmp_path / "foreign.keras"])


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Any:
    """``edgeseg`` in this process, in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeseg", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        told = capfd.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return call


def test_the_verb_writes_what_evaluate_scores_plain_and_flipped(checkpoint: Any, run: Any) -> None:
    code, _, err = run("ensemble", checkpoint("a.keras", 1), checkpoint("b.keras", 2), "--out", "both.keras")
    assert (code, "edgeseg evaluate both.keras" in err) == (0, True), err
    code, out, err = run("evaluate", "both.keras", "--json", "--worst", 0)
    assert code == 0, err
    plain = json.loads(out)
    assert (plain["samples"], plain["split"], plain["flip"]) == (6, "val", False)
    code, out, err = run("evaluate", "both.keras", "--json", "--worst", 0, "--flip")
    assert code == 0, err
    flipped = json.loads(out)
    assert flipped["flip"]
    assert flipped["confusion_matrix"] != plain["confusion_matrix"]
    assert Path("runs/evaluate/both-val-flip/summary.json").is_file()


def test_the_verb_refuses_another_kind_of_file_and_a_single_one(checkpoint: Any, run: Any) -> None:
    path = checkpoint("a.keras", 1)
    code, _, err = run("ensemble", path, path, "--out", "both.h5")
    assert (code, "Use --out both.keras" in err) == (2, True)
    code, _, err = run("ensemble", path, "--out", "both.keras")
    assert (code, "two models or more" in err) == (2, True)
    assert not Path("both.keras").exists()
