"""What a comparison's files say, held against numbers worked out here; nothing is trained."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.training.comparison.outcome import LossCheck, Outcome
from edgeseg.training.comparison.plan import Comparison, PlannedRun, Subject, plan_comparison
from edgeseg.training.comparison.report import Origin, to_markdown, write_report
from edgeseg.training.comparison.table import Spread, rows_of
from edgeseg.training.recipe import make_recipe

ORIGIN = Origin("edgeseg compare losses --data synthetic", "a machine, 2 cores")
FILES = {"comparison.json", "comparison.csv", "runs.csv", "comparison.md"}


def plan(out: Path, names: tuple[str, ...], seeds: int, subject: Subject = "loss") -> Comparison:
    base = make_recipe({"data": "synthetic", "epochs": 4, "size": [32, 64]})
    return plan_comparison(subject, base, names, range(1, seeds + 1), out)


def scored(run: PlannedRun, miou: float, **changes: object) -> Outcome:
    values: dict[str, object] = {
        "epochs": 4,
        "seconds": 60.0,
        "epoch_seconds": 15.0,
        "loss_check": LossCheck(0.5, 0.5),
        "best_epoch": 3,
        "precision": "float32",
        "parameters": 470_000,
        "miou": miou,
        "mean_dice": miou + 0.1,
        "class_iou": {"road": miou + 0.2, "pole": miou - 0.2, "train": None},
    }
    return Outcome(run, **{**values, **changes})


def failed(run: PlannedRun) -> Outcome:
    return Outcome(run, 2, 30.0, 15.0, failure="loss in epoch 3: expected a finite number, found nan")


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.parametrize(
    ("values", "text", "reach"),
    [
        ((0.6,), "60.0", (0.6, 0.6)),
        ((0.6, 0.7), "65.0 (60.0 to 70.0)", (0.6, 0.7)),
        ((0.6, 0.7, 0.8), "70.0 ± 10.0", (0.6, 0.8)),
        ((0.7, 0.7001, 0.6999), "70.0 ± <0.1", (0.6999, 0.7001)),
    ],
)
def test_spread(values: tuple[float, ...], text: str, reach: tuple[float, float]) -> None:
    spread = Spread(values)
    assert spread.in_points() == text
    assert spread.reach == pytest.approx(reach)
    assert spread.mean == pytest.approx(np.mean(values))
    if len(values) >= 3:
        assert spread.deviation == pytest.approx(np.std(values, ddof=1))
    else:
        assert spread.deviation is None


def test_rows_are_by_mean_miou_and_failures_do_not_count(tmp_path: Path) -> None:
    comparison = plan(tmp_path, ("dice", "iou", "focal"), 2)
    dice1, iou1, focal1, dice2, iou2, focal2 = comparison.runs
    outcomes = [scored(dice1, 0.4), failed(iou1), scored(focal1, 0.5), scored(dice2, 0.5), failed(iou2)]
    rows = rows_of(comparison, [*outcomes, failed(focal2)])
    assert [row.variant for row in rows] == ["focal", "dice", "iou"]
    focal, dice, iou = rows
    assert focal.miou == Spread((0.5,))
    assert len(focal.failed) == 1
    assert dice.miou == Spread((0.4, 0.5))
    assert iou.miou is None
    assert iou.seconds is None
    assert dice.class_iou["train"] is None, "a class that no run has"


def test_files_hold_every_run_and_the_spread(tmp_path: Path) -> None:
    comparison = plan(tmp_path, ("dice", "focal"), 3)
    mious = (0.40, 0.50, 0.42, 0.55, 0.44, 0.60)
    outcomes = [scored(run, miou) for run, miou in zip(comparison.runs, mious, strict=True)]
    files = write_report(comparison, outcomes, ORIGIN)
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in files} == FILES | {"comparison.png", "classes.png"}

    focal, dice = read_csv(tmp_path / "comparison.csv")
    assert (focal["loss"], dice["loss"]) == ("focal", "dice")
    assert float(dice["miou mean"]) == pytest.approx(0.42)
    assert float(dice["miou deviation"]) == pytest.approx(0.02)
    assert (float(dice["miou min"]), float(dice["miou max"])) == (0.40, 0.44)
    assert float(focal["iou road mean"]) == pytest.approx(0.75)
    assert focal["iou train mean"] == ""

    runs = read_csv(tmp_path / "runs.csv")
    assert [(run["loss"], run["seed"]) for run in runs] == [(n, s) for s in "123" for n in ("dice", "focal")]
    assert [float(run["miou"]) for run in runs] == list(mious)
    document = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert document["command"] == ORIGIN.command
    assert document["recipe"]["epochs"] == 4
    assert not {"loss", "seed"} & set(document["recipe"])
    assert [run["recipe_hash"] for run in document["runs"]] == [run.recipe.hash() for run in comparison.runs]


def test_the_page_says_what_is_missing_and_what_failed(tmp_path: Path) -> None:
    comparison = plan(tmp_path, ("dice", "iou"), 2)
    page = to_markdown(comparison, [scored(comparison.runs[0], 0.4), failed(comparison.runs[1])], ORIGIN)
    assert "**Not finished: 2 of 4 runs are over.**" in page
    assert "| dice | 1 of 2 | 40.0 | 50.0 | 1.0 | 15.0 |" in page
    assert "| iou | 0 of 2, 1 failed | n/a | n/a | n/a | n/a |" in page
    assert "- iou-seed1: loss in epoch 3: expected a finite number, found nan" in page
    assert "in brackets are the lowest and the highest seed" in page
    assert "size: [32, 64]" in page


def test_models_are_shown_with_their_size_and_settings(tmp_path: Path) -> None:
    base = make_recipe({"data": "synthetic"})
    narrow = {"narrow": {"model": "unet_mini", "model_options.channels": "16"}}
    comparison = plan_comparison("model", base, ["unet_mini"], [1], tmp_path, narrow)
    page = to_markdown(comparison, [scored(run, 0.4) for run in comparison.runs], ORIGIN)
    assert "| unet_mini | 1 of 1 | 40.0 | 50.0 | 0.47 | 1.0 | 15.0 |" in page
    assert "- narrow: `model=unet_mini`, `model_options.channels=16`" in page


def test_before_the_first_run_there_are_no_pictures(tmp_path: Path) -> None:
    comparison = plan(tmp_path, ("dice",), 1)
    write_report(comparison, [], ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    write_report(comparison, [failed(comparison.runs[0])], ORIGIN)
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.parametrize(("variants", "seeds"), [(1, 1), (8, 3)])
def test_pictures_of_few_and_many(variants: int, seeds: int, tmp_path: Path) -> None:
    names = ("dice", "iou", "focal", "total", "tversky", "cross_entropy", "lovasz_softmax", "focal_tversky")
    comparison = plan(tmp_path, names[:variants], seeds)
    outcomes = [scored(run, 0.4 + 0.01 * i) for i, run in enumerate(comparison.runs)]
    if len(outcomes) > 1:
        outcomes[1] = failed(comparison.runs[1])
    write_report(comparison, outcomes, ORIGIN)
    for name in ("comparison.png", "classes.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert picture.std() > 5


def test_keras_is_not_needed_to_plan_or_to_report() -> None:
    import subprocess

    code = (
        "import sys, edgeseg.training.comparison.plan, edgeseg.training.comparison.report\n"
        "sys.exit(', '.join({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
