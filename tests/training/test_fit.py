"""Whole runs of a tiny model: the run folder, exact resumption, and runs that must be stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from keras import ops

from edgeseg.errors import DataError, TrainingError, UsageError
from edgeseg.training import fit, guards, network
from edgeseg.training.callbacks import EpochSeeds
from edgeseg.training.checkpoint import load_checkpoint, load_trainable, save_checkpoint
from edgeseg.training.checkpoint_info import read_info
from edgeseg.training.compilation import make_trainee
from edgeseg.training.data import open_dataset, prepare
from edgeseg.training.fit import TrainResult, _without_effect, resume, train
from edgeseg.training.models import unet_mini
from edgeseg.training.observer import Observer, Run, Status
from edgeseg.training.recipe import make_recipe, read_recipe
from edgeseg.training.run_folder import EpochRow, RunFolder, out_of_patience

pytestmark = pytest.mark.usefixtures("small_network")
RUN_FILES = {
    "recipe.yaml",
    "metrics.csv",
    "labels.png",
    "confusion.png",
    "curves.png",
    "summary.json",
    "weights/best.keras",
    "weights/last.keras",
    *(f"predictions/epoch-{epoch:03d}.png" for epoch in (1, 2, 3)),
}


class Recorder(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.run: Run | None = None
        self.status: Status | None = None

    def started(self, run: Run) -> None:
        self.run = run

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        assert 0 <= logs["miou"] <= 1
        self.told.append(f"{epoch}.{step}")

    def epoch_ended(self, row: object, best: bool) -> None:
        self.told.append("end")

    def ended(self, status: Status, summary: Mapping[str, object]) -> None:
        self.status = status


class Interrupt(Observer):
    """Presses Ctrl-C at a step."""

    def __init__(self, epoch: int, step: int) -> None:
        self._at = (epoch, step)

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        if (epoch, step) == self._at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def straight(
    bands: str, small_network: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainResult, Recorder]:
    """Three epochs in one go."""
    recorder = Recorder()
    values = {"data": bands, "size": [16, 16], "model_options": {"channels": 4}, "epochs": 3, "batch": 4,
              "learning_rate": 1e-2, "precision": "float32"}  # fmt: skip
    return train(make_recipe(values), tmp_path_factory.mktemp("runs") / "straight", [recorder]), recorder


def test_run_folder_holds_what_the_design_says(straight: tuple[TrainResult, Recorder]) -> None:
    folder = straight[0].folder.path
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == RUN_FILES
    for picture in folder.rglob("*.png"):
        assert cv2.imread(str(picture)) is not None


def test_observer_is_told_every_step_and_epoch(straight: tuple[TrainResult, Recorder]) -> None:
    recorder = straight[1]
    assert recorder.told == [t for e in (1, 2, 3) for t in (*(f"{e}.{s}" for s in (1, 2, 3, 4)), "end")]
    assert recorder.status == "finished"
    assert recorder.run is not None
    assert recorder.run.steps_per_epoch == 4


def test_it_learns(straight: tuple[TrainResult, Recorder]) -> None:
    rows = straight[0].rows
    assert rows[-1].loss < rows[0].loss
    assert [row.epoch for row in rows] == [1, 2, 3]
    assert rows == tuple(straight[0].folder.read_rows())


def test_best_is_the_epoch_of_the_highest_val_miou(straight: tuple[TrainResult, Recorder]) -> None:
    result = straight[0]
    best = max(result.rows, key=lambda row: row.val_miou)
    info, last = read_info(result.folder.best), read_info(result.folder.last)
    assert info is not None
    assert last is not None
    assert (info.epoch, info.val_miou) == (best.epoch, best.val_miou)
    assert last.epoch == 3
    assert info.recipe_hash == result.recipe.hash()


def test_settings_that_change_nothing_are_named(straight: tuple[TrainResult, Recorder], bands: str) -> None:
    """U-Net Mini has no encoder, and this run no teacher."""
    assert straight[1].run is not None
    assert straight[1].run.without_effect == ()
    recipe = make_recipe({"data": bands, "encoder_rate": 0.5, "distill_weight": 2.0})
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    assert _without_effect(recipe, network) == ("encoder_rate", "distill_weight")
    network = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2, name="encoder")])
    assert _without_effect(recipe, network) == ("distill_weight",)


def test_summary_is_the_best_checkpoints_score(straight: tuple[TrainResult, Recorder]) -> None:
    result = straight[0]
    summary = json.loads(result.folder.summary.read_text(encoding="utf-8"))
    assert summary == result.summary
    assert summary["miou"] == summary["evaluation"]["label_resolution"]["miou"]
    at_model = summary["evaluation"]["model_resolution"]["miou"]
    best = max(row.val_miou for row in result.rows)
    # The streaming metric reads the cached masks, the evaluation those of the files: the same pixels.
    assert at_model == pytest.approx(best, abs=1e-4)


def test_recipe_in_the_folder_is_the_recipe(straight: tuple[TrainResult, Recorder]) -> None:
    assert make_recipe(read_recipe(straight[0].folder.recipe)) == straight[0].recipe


def test_policy_is_put_back(straight: tuple[TrainResult, Recorder]) -> None:
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("epoch", "step"), [(1, 2), (3, 1)])
def test_interrupted_and_resumed_equals_straight(
    epoch: int, step: int, straight: tuple[TrainResult, Recorder], tmp_path: Path
) -> None:
    recipe, recorder = straight[0].recipe, Recorder()
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", [recorder, Interrupt(epoch, step)])
    assert recorder.status == "interrupted"
    again = Recorder()
    result = resume(tmp_path / "run", [again])
    assert again.told[0] == f"{epoch}.1"
    for ours, theirs in zip(result.rows, straight[0].rows, strict=True):
        for name in ("loss", "miou", "val_loss", "val_miou", "learning_rate"):
            assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=1e-6)
    for name in ("best", "last"):
        a, _ = load_checkpoint(getattr(result.folder, name))
        b, _ = load_checkpoint(getattr(straight[0].folder, name))
        for x, y in zip(a.get_weights(), b.get_weights(), strict=True):
            assert np.allclose(x, y, atol=1e-6)


@pytest.mark.heavy
def test_a_row_that_last_does_not_know_is_made_again(
    straight: tuple[TrainResult, Recorder], tmp_path: Path
) -> None:
    """The machine went down between the table and the checkpoint."""
    recipe = straight[0].recipe
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", [Interrupt(2, 1)])
    folder = RunFolder(tmp_path / "run")
    folder.write_rows([*folder.read_rows(), straight[0].rows[1]])
    assert [row.epoch for row in resume(folder.path).rows] == [1, 2, 3]


def test_resuming_a_finished_run_only_writes_its_end_again(
    straight: tuple[TrainResult, Recorder], tmp_path: Path
) -> None:
    folder, recorder = straight[0].folder, Recorder()
    before = folder.last.read_bytes()
    folder.summary.unlink()
    result = resume(folder.path, [recorder])
    assert recorder.told == []
    assert result.summary["miou"] == pytest.approx(straight[0].summary["miou"])
    assert folder.summary.is_file()
    assert folder.last.read_bytes() == before


def test_the_next_run_of_the_same_name_gets_a_number(tmp_path: Path) -> None:
    paths = [RunFolder.create(tmp_path / "runs" / "a").path.name for _ in range(3)]
    assert paths == ["a", "a-2", "a-3"]


def test_resume_needs_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume.*no folder"):
        resume(tmp_path / "none")
    with pytest.raises(UsageError, match="without them"):
        resume(tmp_path)


@pytest.mark.heavy
def test_resume_refuses_another_recipe_and_other_data(
    straight: tuple[TrainResult, Recorder], tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(straight[0].recipe, tmp_path / "run", [Interrupt(1, 1)])
    folder = RunFolder(tmp_path / "run")
    straight[0].recipe.model_copy(update={"seed": 99}).write(folder.recipe)
    with pytest.raises(DataError, match="another recipe"):
        resume(folder.path)
    straight[0].recipe.write(folder.recipe)
    picture = next((Path(straight[0].recipe.data.partition(":")[2]) / "val" / "images").iterdir())
    original = picture.read_bytes()
    picture.write_bytes(cv2.imencode(".png", np.zeros((24, 32, 3), np.uint8))[1].tobytes())
    try:
        with pytest.raises(DataError, match="images and labels that the run began with"):
            resume(folder.path)
    finally:
        picture.write_bytes(original)


@pytest.mark.parametrize("kept", [[0, 2], [0, 0, 1, 2], [1, 0, 2], []])
def test_a_metrics_table_that_does_not_fit_the_checkpoint(
    kept: list[int], straight: tuple[TrainResult, Recorder], tmp_path: Path
) -> None:
    folder = RunFolder(shutil.copytree(straight[0].folder.path, tmp_path / "run"))
    folder.write_rows([straight[0].rows[index] for index in kept])
    with pytest.raises(DataError, match=r"metrics\.csv.*each of the 3 epochs"):
        resume(folder.path)


def test_patience_is_a_matter_of_the_rows() -> None:
    rows = [EpochRow(i, 1, 0, 1, miou, 0.5, 1e-3, 1) for i, miou in enumerate((0.1, 0.3, 0.3, 0.2), start=1)]
    assert [out_of_patience(rows[:n], 2) for n in range(5)] == [False, False, False, False, True]
    assert not out_of_patience(rows, 0)


def test_resuming_a_run_that_was_stopped_early_trains_no_further(
    straight: tuple[TrainResult, Recorder], tmp_path: Path
) -> None:
    folder = RunFolder(shutil.copytree(straight[0].folder.path, tmp_path / "run"))
    recipe = straight[0].recipe.model_copy(update={"epochs": 9, "early_stopping": 2})
    recipe.write(folder.recipe)
    first, *others = straight[0].rows
    folder.write_rows([replace(first, val_miou=0.9), *(replace(row, val_miou=0.1) for row in others)])
    info = read_info(folder.last)
    assert info is not None
    model = load_trainable(folder.last)
    make_trainee(model, recipe, prepare(open_dataset(recipe.data), "train", 16, 16))
    save_checkpoint(model, folder.last, info.model_copy(update={"recipe_hash": recipe.hash()}))
    recorder = Recorder()
    assert len(resume(folder.path, [recorder]).rows) == 3
    assert recorder.told == []


@pytest.mark.heavy
def test_resume_keeps_the_precision_that_auto_was(
    tiny_recipe: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = {"auto": "mixed_float16", "mixed_float16": "mixed_float16"}
    monkeypatch.setattr(network, "resolve_precision", resolved.__getitem__)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_recipe(precision="auto", epochs=1), tmp_path / "run", [Interrupt(1, 1)])
    resolved["auto"] = "float32"  # as another machine may choose
    assert resume(tmp_path / "run").summary["precision"] == "mixed_float16"


def with_dropout(
    num_classes: int,
    height: int,
    width: int,
    *,
    channels: int = 4,
    momentum: float = 0.9,
    encoder_weights: str = "none",
) -> keras.Model:
    """A model that draws random numbers in each step, and needs a file that is only there at first."""
    assert encoder_weights == "none" or Path(encoder_weights).is_file()
    image = keras.Input((height, width, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization(momentum=momentum)(keras.layers.Dropout(0.5)(x))
    return keras.Model(image, keras.layers.Conv2D(num_classes, 1)(keras.layers.Dropout(0.1)(x)))


@pytest.mark.heavy
def test_resuming_draws_the_same_random_numbers_and_needs_no_encoders_file(
    tiny_recipe: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model with weights of its own from elsewhere must not need them again: the checkpoint has all."""
    monkeypatch.setattr(unet_mini, "build", with_dropout)
    file = tmp_path / "encoder.h5"
    file.touch()
    recipe = tiny_recipe(epochs=2, ema=0.5, model_options={"channels": 4, "encoder_weights": str(file)})
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", [Interrupt(2, 2)])
    file.unlink()
    again = resume(tmp_path / "run")
    for loss in ("loss", "val_loss"):
        expected = [getattr(row, loss) for row in whole.rows]
        assert [getattr(row, loss) for row in again.rows] == pytest.approx(expected, rel=1e-6)
    ours, theirs = (load_checkpoint(result.folder.last)[0].get_weights() for result in (again, whole))
    for x, y in zip(ours, theirs, strict=True):
        assert np.allclose(x, y, atol=1e-6)


def test_seeds_of_an_epoch_depend_on_recipe_epoch_and_layer() -> None:
    def states(seed: int, epoch: int) -> list[int]:
        model = with_dropout(3, 8, 8)
        callback = EpochSeeds(seed)
        callback.set_model(model)
        callback.on_epoch_begin(epoch)
        drawn = [v for v in model.variables if v.name == "seed_generator_state"]
        return [int(number) for v in drawn for number in ops.convert_to_numpy(v)]

    assert states(1, 0) == states(1, 0)
    assert len({*states(1, 0), *states(1, 1), *states(2, 0)}) == 2 * 3 + 1, "and each counts from 0"


def test_an_observer_that_cannot_start_still_ends(tiny_recipe: type, tmp_path: Path) -> None:
    class Fails(Observer):
        def started(self, run: Run) -> None:
            raise OSError("no room")

    recorder = Recorder()
    with pytest.raises(OSError, match="no room"):
        train(tiny_recipe(), tmp_path / "run", [Fails(), recorder])
    assert recorder.status == "failed"


def test_damaged_metrics_table(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.write_text("epoch,loss\n1,much\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.csv"):
        folder.read_rows()


@pytest.mark.heavy
def test_early_stopping(tiny_recipe: type, tmp_path: Path) -> None:
    # A rate this small changes nothing, so that no epoch after the first is better.
    recipe = tiny_recipe(epochs=6, early_stopping=2, learning_rate=1e-12, schedule="constant", warmup=0)
    assert len(train(recipe, tmp_path / "run").rows) <= 4


@pytest.mark.heavy
def test_collapse_to_one_class_is_stopped(
    tiny_recipe: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "COLLAPSE_STEPS", 1)
    recipe = tiny_recipe(epochs=9, class_weights=[1, 0, 0], loss="cross_entropy", learning_rate=0.1)
    recorder = Recorder()
    with pytest.raises(TrainingError, match=r"one class on .*data check"):
        train(recipe, tmp_path / "run", [recorder])
    assert recorder.status == "failed"
    assert RunFolder(tmp_path / "run").last.is_file()


@pytest.mark.heavy
def test_a_loss_that_is_not_finite_is_stopped(tiny_recipe: type, tmp_path: Path) -> None:
    recipe = tiny_recipe(optimizer="sgd", learning_rate=1e30, schedule="constant", warmup=0)
    with pytest.raises(TrainingError, match="finite"):
        train(recipe, tmp_path / "run")
    info = read_info(RunFolder(tmp_path / "run").last)
    assert info is not None
    assert info.epoch == 0, "the broken weights were not kept"


@pytest.mark.heavy
def test_images_on_the_device_resume_exactly(tiny_recipe: type, tmp_path: Path) -> None:
    recipe = tiny_recipe(resident=True, epochs=2)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "cut", [Interrupt(2, 4)])
    again = resume(tmp_path / "cut")
    assert [row.val_loss for row in again.rows] == pytest.approx(
        [row.val_loss for row in whole.rows], rel=1e-5
    )
    info = read_info(again.folder.last)
    assert info is not None
    assert info.resident


def test_a_size_that_only_the_windows_fit_is_refused_before_an_image_is_decoded(
    tiny_recipe: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "prepare", None)
    with pytest.raises(UsageError, match="--size"):
        train(tiny_recipe(size=[18, 16], crop=[16, 16]), tmp_path / "run")


def test_a_fraction_without_a_labelled_pixel_is_refused(tiny_recipe: type, tmp_path: Path) -> None:
    split = prepare(open_dataset(tiny_recipe().data), "train", 16, 16)
    ignored = np.full_like(split.masks, split.labels.ignore_index)
    with pytest.raises(DataError, match="only ignored pixels"):
        fit._check_labelled(
            "train", replace(split, masks=ignored, histogram=np.zeros(3, np.int64)), tiny_recipe()
        )
