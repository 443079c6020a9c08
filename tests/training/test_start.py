"""What a run is made of, and what is refused before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from edgeseg.errors import DataError, OutputError, UsageError
from edgeseg.training import fit
from edgeseg.training.compilation import class_weights, make_trainee
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.fit import train
from edgeseg.training.losses import LOSSES, loss_function
from edgeseg.training.network import new_network
from edgeseg.training.recipe import Recipe
from edgeseg.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def cached(bands: str, tmp_path_factory: pytest.TempPathFactory) -> CachedSplit:
    return prepare(open_dataset(bands), "train", 16, 16, cache_dir=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_loss_of_the_recipe_is_the_one_that_is_compiled(
    name: str, tiny_recipe: type, cached: CachedSplit
) -> None:
    """Not a loss of another name, as in a loop that compiles every run with the same one."""
    recipe: Recipe = tiny_recipe(loss=name)
    keras.utils.set_random_seed(0)
    model = new_network(recipe, cached.labels)
    trainee = make_trainee(model, recipe, cached)
    # An opinion: where all classes are as likely, Dice and Tversky are almost the same.
    model.get_layer("head").bias.assign([0.0, 2.0, -1.0])
    images, masks = cached.images[:4], cached.masks[:4]
    logits = model(images, training=False)
    compiled = float(trainee.test_on_batch(images, masks, return_dict=True)["loss"])
    values = {other: float(ops.convert_to_numpy(loss_function(other)(masks, logits))) for other in LOSSES}
    assert compiled == pytest.approx(values[name], rel=1e-4)
    others = [value for other, value in values.items() if other != name]
    assert all(abs(compiled - value) > 1e-3 * value for value in others), "the case tells the losses apart"
    assert trainee.objective.name == name


def test_class_weights_of_the_recipe(tiny_recipe: type, cached: CachedSplit) -> None:
    assert class_weights(tiny_recipe(), cached) is None
    assert class_weights(tiny_recipe(class_weights=[1, 2, 3]), cached) == [1, 2, 3]
    weights = class_weights(tiny_recipe(class_weights="median_frequency"), cached)
    expected = np.clip(np.median(cached.histogram) / cached.histogram, 0.1, 10)
    assert weights == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weights": [1, 2]}, "3 finite numbers"),
        ({"class_weights": [0, 0, 0]}, "not all 0"),
        ({"class_weights": [1, -1, 1]}, "at least 0"),
        ({"loss_options": {"gamma": 2}}, "loss_options.*gamma"),
        ({"model_options": {"channels": 0}}, "channels"),
        ({"size": [18, 16]}, "--size"),
    ],
)
def test_what_does_not_fit_is_said_before_an_image_is_decoded(
    changes: dict[str, Any], message: str, tiny_recipe: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "prepare", None)
    with pytest.raises(UsageError, match=message):
        train(tiny_recipe(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_out_that_cannot_be_made_is_said_before_an_image_is_decoded(
    tiny_recipe: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "prepare", None)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"--out .*run: .*file, which is a file"):
        train(tiny_recipe(), tmp_path / "file" / "runs" / "run")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="which cannot be written to"):
        train(tiny_recipe(), tmp_path / "runs" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_made_after_all(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--out"):
        RunFolder.create(tmp_path / "file" / "run")


@pytest.mark.parametrize("ignored", ["train", "val"])
def test_a_split_of_ignored_pixels_only(ignored: str, tiny_recipe: type, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind, value in (("images", 9), ("masks", 255 if split == ignored else 1)):
            (tmp_path / split / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / split / kind / "a.png"), np.full((16, 16), value, np.uint8))
    (tmp_path / "labels.yaml").write_text("classes: [a, b]\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"split '{ignored}'.*only ignored pixels"):
        train(tiny_recipe(data=f"folder:{tmp_path}"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
