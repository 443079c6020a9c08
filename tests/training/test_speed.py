"""Measuring a training's speed: every part is measured in every round, loaded or on the device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.errors import UsageError
from edgeseg.training.data import open_dataset, prepare
from edgeseg.training.speed import PARTS, TrainingSpeed, measure_training


@pytest.mark.heavy
@pytest.mark.parametrize("resident", [False, True])
def test_every_part_is_measured(resident: bool, tiny_recipe: type) -> None:
    recipe = tiny_recipe(batch=5)
    train = prepare(open_dataset(recipe.data), "train", 16, 16)
    told: list[tuple[int, int]] = []
    speed = measure_training(
        recipe, train, resident=resident, rounds=2, seconds=0.01,
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(turn, 12) for turn in range(1, 13)]
    for part in PARTS:
        assert len(getattr(speed, part)) == 2
        assert speed.images_per_second(part) == pytest.approx(5 / speed.seconds(part))
        assert 0 < speed.seconds(part) < 60


def test_a_batch_of_more_images_than_there_are_is_refused(tiny_recipe: type) -> None:
    recipe = tiny_recipe(batch=17)
    train = prepare(open_dataset(recipe.data), "train", 16, 16)
    with pytest.raises(UsageError, match=r"--batch.*16 images.*found 17"):
        measure_training(recipe, train, resident=False)


def test_shares_are_those_of_each_round() -> None:
    """A machine that is slow in one round is slow for all parts of it."""
    speed = TrainingSpeed(4, network=(0.9, 1.8, 9.0), step=(1, 2, 10), loop=(1.1, 2.2, 10.5), data=(1, 1, 1))
    assert speed.loss_share == pytest.approx(0.1)
    assert speed.loop_share == pytest.approx(0.1)
    assert speed.seconds("step") == 2


@pytest.mark.heavy
def test_a_recipe_is_measured_by_its_command(bands: str, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("size: [16, 16]\nbatch: 8\nfraction: 0.25\nmodel_options: {channels: 4}\n", "utf-8")
    command = ["benchmark-training", "--recipe", recipe, "--data", bands, "--batch", "2", "--rounds", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "edgeseg", *command, "--seconds", "0", "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    settings = json.loads(done.stdout)["settings"]
    assert (settings["size"], settings["batch"], settings["images"]) == ("16x16", 2, 4)
    assert (tmp_path / "runs/benchmark/training-speed.md").is_file()
