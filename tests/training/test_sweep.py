"""Sweeps: nothing finished is lost or repeated, what falls behind is stopped, and the front is the front."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import DataError, TrainingError, UnknownNameError, UsageError
from edgeseg.training.checkpoint_info import INFO_MEMBER, CheckpointInfo
from edgeseg.training.continuation import bring_to_end
from edgeseg.training.documents import Origin
from edgeseg.training.recipe import Recipe, make_recipe
from edgeseg.training.recipes import recipe_values
from edgeseg.training.run_folder import RunFolder
from edgeseg.training.sweep.plan import read_sweep, recipes_to_check
from edgeseg.training.sweep.report import write_report
from edgeseg.training.sweep.results import results_of
from edgeseg.training.sweep.run import Train, run_sweep, sweeping
from edgeseg.training.sweep.study import Study
from sweep_toys import ToyTrain, times_ended, toy_miou, toy_sweep

optuna = pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")

HERE = Origin("edgeseg sweep", "a machine")


def run(study: Study, train: Train | None = None) -> None:
    run_sweep(study, train or ToyTrain(), lambda _: None, lambda: None)


def states(out: Path) -> list[str]:
    """Optuna's own states, in its own storage."""
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{out / 'study.db'}")
    study = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{out / 'study.db'}")
    return [trial.state.name for trial in study.trials]


def test_a_sweep_finds_the_best(tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, trials=8)
    study = Study(sweep)
    run(study)
    results = results_of(study)
    assert states(tmp_path) == ["COMPLETE"] * 8
    assert results.best is not None
    assert results.best.miou == max(result.miou or 0 for result in results.trials)
    assert results.best.leads
    recipe = sweep.recipe(sweep.settings(results.best.trial.params))
    assert toy_miou(recipe) == pytest.approx(results.best.miou)
    assert sum(results.importance.values()) == pytest.approx(1)


def test_its_files(tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, trials=6, space=["lr=1e-4..1e-2:log", "loss=dice,iou"])
    study = Study(sweep)
    run(study)
    files = write_report(results_of(study), HERE)
    assert {path.name for path in files} == {
        "trials.csv", "sweep.md", "best.yaml", "history.png", "values.png", "importance.png"
    }  # fmt: skip
    with (tmp_path / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["miou"]))
    winner = make_recipe(recipe_values(str(tmp_path / "best.yaml")))
    assert winner.learning_rate == pytest.approx(float(best["learning_rate"]), rel=1e-3)
    assert winner.loss == best["loss"]
    assert winner.epochs == 4
    ranked = (tmp_path / "sweep.md").read_text(encoding="utf-8")
    assert ranked.index(best["trial"]) < min(ranked.index(r["trial"]) for r in rows if r is not best)


def test_a_process_that_is_killed_loses_and_repeats_nothing(tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "sweep_toys", str(out), "--seconds", "0.1"]
    process = subprocess.Popen(command, env=_environment())
    _until((out / "trials" / "trial-0003" / "metrics.csv").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = states(out)
    assert before.count("COMPLETE") >= 3
    assert before.count("RUNNING") == 1
    finished = [f"trial-{number:04d}" for number, state in enumerate(before) if state == "COMPLETE"]

    sweep = read_sweep(out)
    study = Study(sweep)
    run(study)
    after = states(out)
    assert after[: len(finished)] == ["COMPLETE"] * len(finished)
    assert after.count("COMPLETE") == sweep.trials
    assert after.count("FAIL") == 1, "the one that was running"
    assert after.count("RUNNING") == 0
    rows = study.rows()
    assert [row.name for row in rows] == [f"trial-{number:04d}" for number in _numbers(rows)]
    assert len(rows) == sweep.trials, "the one that was cut off is there once, under its own name"
    assert all(times_ended(sweep)[name] == 1 for name in finished)


def test_what_was_cut_off_is_tried_again_with_its_values_and_folder(tmp_path: Path) -> None:
    study = Study(toy_sweep(tmp_path, trials=2))

    def interrupted(*_: Any) -> Mapping[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, interrupted)
    (cut_off,) = study.rows()
    assert cut_off.state == "unfinished"
    for _ in range(2):  # interrupted again before anything came of it
        with pytest.raises(KeyboardInterrupt):
            run(Study(study.sweep), interrupted)
    again = Study(study.sweep)
    run(again)
    first, second = again.rows()
    assert (first.name, first.state) == (cut_off.name, "finished")
    assert first.params == pytest.approx(cut_off.params)
    assert second.params != pytest.approx(first.params), "the sampler does not begin again"


def test_one_that_fails_has_its_reason_and_ends_nothing(tmp_path: Path) -> None:
    study = Study(toy_sweep(tmp_path, trials=3))
    calls: list[str] = []

    def train(recipe: Recipe, folder: RunFolder, on_epoch: Callable[[int, float], bool]) -> Any:
        calls.append(folder.path.name)
        if len(calls) == 2:
            raise TrainingError("loss", expected="a number", found="nan", next_step="Lower it.")
        return ToyTrain()(recipe, folder, on_epoch)

    run(study, train)
    assert [row.state for row in study.rows()] == ["finished", "failed", "finished"]
    assert study.rows()[1].failure == "loss: expected a number, found nan. Lower it."
    run(Study(study.sweep), train)
    assert len(calls) == 3, "a failure is a result"
    write_report(results_of(study), HERE)
    assert "trial-0001: loss: expected a number" in (tmp_path / "sweep.md").read_text(encoding="utf-8")


def test_what_every_trial_would_meet_ends_the_sweep(tmp_path: Path) -> None:
    study = Study(toy_sweep(tmp_path, trials=3))

    def train(*_: Any) -> Any:
        raise DataError("data", expected="images", found="none", next_step="Give some.")

    with pytest.raises(DataError):
        run(study, train)
    run(Study(study.sweep))
    assert [row.state for row in study.rows()] == ["finished"] * 3


def test_what_falls_behind_is_pruned(tmp_path: Path) -> None:
    study = Study(toy_sweep(tmp_path, trials=20, pruner="median"))
    run(study)
    pruned = [row for row in study.rows() if row.state == "pruned"]
    assert pruned
    # The first quarter of the epochs, and the first four trials, are never stopped.
    assert all(1 < max(row.reported) < 4 for row in pruned)
    assert not {row.name for row in pruned} & {f"trial-{number:04d}" for number in range(4)}
    assert {row.name for row in pruned}.isdisjoint(times_ended(study.sweep)), "they were not trained on"
    for row in pruned:
        epoch = max(row.reported)
        at = [r.reported[epoch] for r in study.rows() if r.state == "finished" and r.name < row.name]
        assert row.reported[epoch] < sorted(at)[(len(at) - 1) // 2] + 1e-9
    finished = [row.values["miou"] for row in study.rows() if row.state == "finished"]
    assert max(finished) > max(row.reported[max(row.reported)] for row in pruned)


def test_hyperband_prunes(tmp_path: Path) -> None:
    study = Study(toy_sweep(tmp_path, trials=20, pruner="hyperband"))
    run(study)
    assert {row.state for row in study.rows()} == {"finished", "pruned"}


def test_the_front_of_two_objectives_is_that_computed_by_hand(tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, objectives=["latency", "miou"], trials=5, pruner=None)
    assert sweep.objectives == ("miou", "latency")
    study = Study(sweep)
    # In brackets what beats it: 1 (by 0, as exact and faster), 4 (by 2, in both).
    given = iter([(0.50, 4.0), (0.50, 5.0), (0.60, 6.0), (0.20, 1.0), (0.55, 7.0)])

    def train(recipe: Recipe, folder: RunFolder, on_epoch: Callable[[int, float], bool]) -> Any:
        assert on_epoch(1, 0.0), "with two objectives nothing is pruned"
        return dict(zip(("miou", "latency"), next(given), strict=True))

    run(study, train)
    results = results_of(study)
    assert [result.leads for result in results.trials] == [True, False, True, True, False]
    assert {path.name for path in write_report(results, HERE)} >= {"front.png", "best.yaml"}
    assert results.best is not None
    assert results.best.name == "trial-0002"


def test_a_sweep_is_read_back(tmp_path: Path) -> None:
    space = ["lr=1e-5..1e-2:log", "size=[64,96],[96,128]"]
    sweep = replace(toy_sweep(tmp_path, space=space, seed=7), command="edgeseg sweep …")
    Study(sweep)
    sweep.write()
    assert read_sweep(tmp_path) == sweep
    sweep.database.unlink()
    with pytest.raises(DataError, match="expected the trials of this sweep"):
        read_sweep(tmp_path)
    with pytest.raises(UsageError, match="no folder"):
        read_sweep(tmp_path / "nowhere")
    sweep.document.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="what edgeseg sweep wrote"):
        read_sweep(tmp_path)


def test_two_processes_do_not_work_on_one_sweep(tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path / "busy")
    sweep.out.mkdir()
    with sweeping(sweep), pytest.raises(UsageError, match="another process works on"), sweeping(sweep):
        pass
    with sweeping(sweep):
        pass


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"space": ["learnin_rate=1..2"]}, UsageError, "recipe field 'learnin_rate': expected a field"),
        ({"space": ["augment.blurr=0..1"]}, UsageError, "recipe field 'augment.blurr'"),
        (
            {"space": ["lr=-1..1"]},
            UsageError,
            "recipe field 'learning_rate': expected input should be greater",
        ),
        ({"space": ["batch=0.5..2"]}, UsageError, "recipe field 'batch'"),
        ({"space": ["loss=dice,dize"]}, UnknownNameError, "dize"),
        ({"space": ["val_split=train,val"]}, UsageError, "images which trials are scored on"),
        ({"objectives": ["mioo"]}, UnknownNameError, "mioo"),
        ({"objectives": ["latency"]}, UsageError, "expected miou, or miou,latency"),
        ({"pruner": "mean"}, UnknownNameError, "hyperband"),
        ({"pruner": "median", "objectives": ["miou", "latency"]}, UsageError, "none with two objectives"),
        ({"trials": 0}, UsageError, "--trials: expected 1 or more"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(
    changes: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind) as refused:
        toy_sweep(tmp_path, **changes)
    assert message in str(refused.value)


def test_values_that_need_one_another_are_no_mistake(tmp_path: Path) -> None:
    """A crop of 96 fits no size of 64, but one of 128."""
    sweep = toy_sweep(tmp_path, space=["size=[64,64],[128,128]", "crop=[32,32],[96,96]"])
    groups = recipes_to_check(sweep)
    assert [len(group) for group in groups] == [2, 3, 3, 2]
    assert all(recipe.crop is None or recipe.crop[0] <= recipe.size[0] for g in groups for recipe in g)
    with pytest.raises(UsageError, match="crop must lie within size"):
        toy_sweep(tmp_path, space=["crop=[32,32],[512,512]"])


def test_a_database_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--storage nonsense: expected a database"):
        Study(toy_sweep(tmp_path), "nonsense")


def _numbers(rows: list[Any]) -> list[int]:
    return [int(row.name.removeprefix("trial-")) for row in rows]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_a_sweep_is_not_begun_anew_where_its_trials_are_not(tmp_path: Path) -> None:
    sweep = toy_sweep(tmp_path, trials=2)
    run(Study(sweep, f"sqlite:///{tmp_path / 'begun.db'}"))
    with pytest.raises(UsageError, match=r"other\.db: expected the trials of this sweep"):
        Study(sweep, f"sqlite:///{tmp_path / 'other.db'}", continued=True)
    assert len(Study(sweep, f"sqlite:///{tmp_path / 'begun.db'}", continued=True).rows()) == 2


def test_the_run_of_another_recipe_is_not_taken_for_a_trials_own(tmp_path: Path) -> None:
    recipe = make_recipe({"data": "synthetic", "model": "unet_mini", "size": [32, 32]})
    info = CheckpointInfo(
        model="unet_mini",
        recipe={},
        recipe_hash=recipe.hash(),
        labels={},
        height=32,
        width=32,
        dataset="",
        dataset_fingerprint="",
        epoch=1,
        val_miou=None,
        edgeseg_version="0.1.0",
    )
    folder = RunFolder(tmp_path / "trial-0000")
    folder.last.parent.mkdir(parents=True)
    with zipfile.ZipFile(folder.last, "w") as file:
        file.writestr(INFO_MEMBER, info.model_dump_json())
    with pytest.raises(DataError, match="found another recipe's run"):
        bring_to_end(recipe.model_copy(update={"learning_rate": 0.5}), folder)
