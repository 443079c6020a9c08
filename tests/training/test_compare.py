"""Comparisons of losses: each run is its own loss, and what is finished is never trained again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeseg.errors import DataError, TrainingError, UnknownNameError, UsageError
from edgeseg.training import compilation
from edgeseg.training.batches import Batches
from edgeseg.training.checkpoint import load_trainable, save_checkpoint
from edgeseg.training.comparison.outcome import Outcome
from edgeseg.training.comparison.plan import Comparison, PlannedRun, plan_comparison
from edgeseg.training.comparison.proof import check_trained_as_planned
from edgeseg.training.comparison.run import Report, run_comparison
from edgeseg.training.comparison.tracking import MLflowComparison
from edgeseg.training.comparison.trial import train_run
from edgeseg.training.data import open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.fit import train
from edgeseg.training.losses import loss_function
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.observer import Observer, Run
from edgeseg.training.recipe import Recipe, make_recipe
from edgeseg.training.recipe_check import check_recipes
from edgeseg.training.run_folder import RunFolder
from edgeseg.training.tracking import MLflowTracker

pytestmark = pytest.mark.usefixtures("small_network")
LOSSES = ("dice", "cross_entropy")


class Watch(Observer):
    """Keeps what a run began with and what its first step gave."""

    def __init__(self) -> None:
        self.run: Run | None = None
        self.network: keras.Model | None = None
        self.first_loss: float | None = None

    def started(self, run: Run) -> None:
        self.run, self.network = run, load_trainable(run.folder.last)

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        if (epoch, step) == (1, 1):
            self.first_loss = float(logs["loss"])


class Watches:
    """An observer for each run, by the run's name, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.of: dict[str, Watch] = {}

    def __call__(self, run: PlannedRun) -> list[Observer]:
        self.of[run.name] = Watch()
        return [self.of[run.name]]


class Interrupt(Observer):
    """Presses Ctrl-C in the second epoch."""

    def stepped(self, epoch: int, step: int, logs: Mapping[str, float]) -> None:
        if epoch == 2:
            raise KeyboardInterrupt


ObserversOf = Callable[[PlannedRun], Sequence[Observer]]


def ignored(outcomes: Sequence[Outcome]) -> None:
    """A report that nobody reads."""


def compare(comparison: Comparison, observers: ObserversOf, report: Report) -> list[Outcome]:
    """All runs in this process, each with its observers."""
    return run_comparison(comparison, check_recipes, lambda run: train_run(run, observers(run)), report)


@pytest.fixture(scope="module")
def base(bands: str, small_network: None) -> Recipe:
    return make_recipe(
        {"data": bands, "size": [16, 16], "model_options": {"channels": 4}, "epochs": 2, "batch": 4,
         "learning_rate": 1e-2, "precision": "float32", "workers": 0,
         "augment": AugmentConfig.none().model_dump()}
    )  # fmt: skip


Compared = tuple[Comparison, Watches, list[Outcome]]


@pytest.fixture(scope="module")
def compared(base: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """Two losses with two seeds, in one go."""
    comparison = plan_comparison("loss", base, LOSSES, [1, 2], tmp_path_factory.mktemp("compare") / "out")
    watches = Watches()
    return comparison, watches, compare(comparison, watches, ignored)


def copied(compared: Compared, to: Path, *runs: str) -> Comparison:
    """The same plan in another place, with the folders of some of its runs."""
    comparison = compared[0]
    for run in runs:
        shutil.copytree(comparison.out / "runs" / run, to / "runs" / run)
    return plan_comparison("loss", comparison.base, LOSSES, comparison.seeds, to)


def test_every_loss_of_a_seed_is_trained_before_the_next_seed(compared: Compared) -> None:
    names = ["dice-seed1", "cross_entropy-seed1", "dice-seed2", "cross_entropy-seed2"]
    assert list(compared[1].of) == names
    assert [outcome.run.name for outcome in compared[2]] == names


@pytest.mark.parametrize("loss", LOSSES)
def test_the_first_steps_loss_is_that_of_the_loss_by_itself(compared: Compared, loss: str) -> None:
    """The fault of the source notebook: all of its runs were compiled with one loss."""
    watch = compared[1].of[f"{loss}-seed1"]
    assert watch.run is not None
    assert watch.network is not None
    recipe = watch.run.recipe
    split = prepare(open_dataset(recipe.data), "train", *recipe.size)
    loader = BatchLoader(split, recipe.batch, seed=recipe.seed, shuffle=True)
    images, masks = Batches(loader)[0]
    logits = watch.network(images, training=True)
    by_loss = {name: float(loss_function(name)(masks, logits)) for name in LOSSES}
    assert watch.first_loss == pytest.approx(by_loss[loss], rel=1e-4)
    other = next(name for name in LOSSES if name != loss)
    assert watch.first_loss != pytest.approx(by_loss[other], rel=0.05)


def test_an_outcome_is_the_runs_own_summary(compared: Compared) -> None:
    for outcome in compared[2]:
        summary = json.loads(outcome.run.folder.summary.read_text(encoding="utf-8"))
        assert outcome.failure is None
        assert outcome.miou == summary["miou"]
        assert outcome.mean_dice == summary["evaluation"]["label_resolution"]["mean_dice"]
        assert outcome.class_iou is not None
        assert list(outcome.class_iou) == ["ground", "sky", "box"]
        assert outcome.seconds == pytest.approx(summary["seconds"], abs=0.1)
        assert outcome.loss_check is not None
        assert outcome.loss_check.recorded == pytest.approx(outcome.loss_check.recomputed, rel=1e-4)


@pytest.mark.heavy
def test_a_run_after_others_is_what_it_is_alone(compared: Compared, tmp_path: Path) -> None:
    outcome = compared[2][3]
    alone = train(outcome.run.recipe, tmp_path / "alone")
    theirs = outcome.run.folder.read_rows()
    for name in ("loss", "val_loss", "val_miou"):
        ours = [getattr(row, name) for row in alone.rows]
        assert ours == pytest.approx([getattr(row, name) for row in theirs], rel=1e-6)


def test_nothing_is_trained_twice(compared: Compared) -> None:
    watches, reports = Watches(), []
    again = compare(compared[0], watches, reports.append)
    assert not watches.of
    assert again == compared[2]
    assert [len(report) for report in reports] == [4]


@pytest.mark.heavy
def test_more_losses_and_seeds_keep_what_is_there(compared: Compared, tmp_path: Path) -> None:
    names = ("dice-seed1", "cross_entropy-seed1", "dice-seed2", "cross_entropy-seed2")
    copied(compared, tmp_path, *names)
    more = plan_comparison("loss", compared[0].base, [*LOSSES, "iou"], [1], tmp_path)
    watches = Watches()
    outcomes = compare(more, watches, ignored)
    assert list(watches.of) == ["iou-seed1"]
    assert [outcome.run.variant for outcome in outcomes] == ["dice", "cross_entropy", "iou"]


@pytest.mark.heavy
def test_an_interrupted_comparison_goes_on_where_it_was(compared: Compared, tmp_path: Path) -> None:
    comparison = copied(compared, tmp_path, "dice-seed1")
    reports: list[list[str]] = []
    with pytest.raises(KeyboardInterrupt):
        compare(
            comparison, lambda run: [Interrupt()], lambda done: reports.append([o.run.name for o in done])
        )
    assert reports == [["dice-seed1"]], "what is finished is reported"
    shutil.copytree(compared[0].out / "runs/dice-seed2", tmp_path / "runs/dice-seed2")
    # As if the machine had gone down before the first checkpoint of a run.
    (tmp_path / "runs/cross_entropy-seed2").mkdir()

    watches = Watches()
    outcomes = compare(comparison, watches, ignored)
    assert list(watches.of) == ["cross_entropy-seed1", "cross_entropy-seed2"]
    continued, fresh = (watch.run for watch in watches.of.values())
    assert continued is not None
    assert fresh is not None
    assert (continued.first_epoch, fresh.first_epoch) == (1, 0)
    assert [o.miou for o in outcomes] == pytest.approx([o.miou for o in compared[2]])
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {run.name for run in comparison.runs}


def test_a_run_that_was_cut_off_after_its_summary_is_only_checked(compared: Compared, tmp_path: Path) -> None:
    names = [run.name for run in compared[0].runs]
    comparison = copied(compared, tmp_path, *names)
    (tmp_path / "runs/dice-seed1/outcome.json").unlink()
    watches = Watches()
    outcomes = compare(comparison, watches, ignored)
    assert watches.of["dice-seed1"].run is None
    assert outcomes[0].miou == compared[2][0].miou


def test_another_recipe_in_the_same_folder_is_refused(compared: Compared, tmp_path: Path) -> None:
    copied(compared, tmp_path, "dice-seed1")
    changed = compared[0].base.model_copy(update={"epochs": 5, "workers": 2})
    plan = plan_comparison("loss", changed, ["dice"], [1], tmp_path)
    with pytest.raises(UsageError, match=r"recipe of dice-seed1: epochs was 2 and is 5 now\. Name another"):
        compare(plan, Watches(), ignored)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"subject": "model", "recipe": {}}, "one that compares by model"),
        ({"subject": "loss", "recipe": {"epochs": 7}}, "epochs was 7 and is 2 now"),
    ],
)
def test_a_folder_of_another_comparison_is_refused(
    base: Recipe, document: dict[str, Any], found: str, tmp_path: Path
) -> None:
    plan = plan_comparison("loss", base, ["iou"], [1], tmp_path)
    plan.document.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UsageError, match=found):
        compare(plan, Watches(), ignored)


def test_a_damaged_document_is_said(base: Recipe, tmp_path: Path) -> None:
    plan = plan_comparison("loss", base, ["iou"], [1], tmp_path)
    plan.document.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"comparison\.json.*made anew"):
        compare(plan, Watches(), ignored)


@pytest.mark.heavy
def test_a_run_that_diverges_is_a_row(base: Recipe, tmp_path: Path) -> None:
    wild = {"wild": {"optimizer": "sgd", "learning_rate": "1.0e+30", "warmup": "0", "schedule": "constant"}}
    plan = plan_comparison("loss", base, ["dice"], [1], tmp_path, {**wild, "dice": {"epochs": "1"}})
    plan = replace(plan, runs=plan.runs[::-1])
    watches = Watches()
    failed, well = compare(plan, watches, ignored)
    assert failed.failure is not None
    assert "finite" in failed.failure
    assert failed.miou is None
    assert well.miou is not None
    assert list(watches.of) == ["wild-seed1", "dice-seed1"], "it did not end the comparison"
    again = Watches()
    assert compare(plan, again, ignored) == [failed, well]
    assert not again.of, "and it is not tried again"


@pytest.mark.large
def test_runs_that_are_all_compiled_with_one_loss_are_found(
    base: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "NamedLoss", lambda name, *rest, **options: NamedLoss("dice", *rest))
    plan = plan_comparison("loss", base, LOSSES, [1], tmp_path)
    honest, other = compare(plan, Watches(), ignored)
    assert honest.failure is None
    assert other.miou is None
    assert other.failure is not None
    assert "to be cross_entropy's" in other.failure


def renamed_in_recipe(folder: RunFolder) -> None:
    text = folder.recipe.read_text(encoding="utf-8")
    folder.recipe.write_text(text.replace("loss: dice", "loss: iou"), encoding="utf-8")


def renamed_in_checkpoint(folder: RunFolder) -> None:
    from edgeseg.training.checkpoint_info import read_info

    info = read_info(folder.best)
    assert info is not None
    told = info.model_copy(update={"recipe": {**info.recipe, "loss": "iou"}})
    save_checkpoint(load_trainable(folder.best), folder.best, told)


@pytest.mark.parametrize(
    ("tamper", "place"), [(renamed_in_recipe, "recipe.yaml"), (renamed_in_checkpoint, "best.keras")]
)
def test_files_that_say_another_loss_are_refused(
    tamper: Any, place: str, compared: Compared, tmp_path: Path
) -> None:
    run = copied(compared, tmp_path, "dice-seed1").runs[0]
    check_trained_as_planned(run)
    tamper(run.folder)
    with pytest.raises(TrainingError, match=f"{place} to say loss dice, found iou"):
        check_trained_as_planned(run)


def test_a_setting_that_one_loss_has_not_is_refused_before_any_run(base: Recipe, tmp_path: Path) -> None:
    plan = plan_comparison("loss", base, LOSSES, [1], tmp_path / "out", {"dice": {"loss_options.gamma": "2"}})
    with pytest.raises(UsageError, match="loss_options of dice"):
        compare(plan, Watches(), ignored)
    assert not (tmp_path / "out").exists()


def test_a_plan_changes_nothing_but_what_is_compared(base: Recipe, tmp_path: Path) -> None:
    narrow = {"unet_mini": {"model_options.channels": "8"}, "slow": {"learning_rate": "0.001"}}
    plan = plan_comparison("model", base, ["unet_mini", "unet_mini_source"], [3], tmp_path, narrow)
    assert [run.name for run in plan.runs] == ["unet_mini-seed3", "unet_mini_source-seed3", "slow-seed3"]
    ours = base.model_dump(exclude={"seed"})
    theirs = [run.recipe.model_dump(exclude={"seed"}) for run in plan.runs]
    changed = [{key: values[key] for key in values if values[key] != ours[key]} for values in theirs]
    assert changed == [
        {"model_options": {"channels": 8}},
        {"model": "unet_mini_source"},
        {"learning_rate": 1e-3},
    ]
    assert {run.recipe.seed for run in plan.runs} == {3}


@pytest.mark.parametrize(
    ("names", "seeds", "variants", "message"),
    [
        (["dice", "dice"], [1], {}, "--losses"),
        ([], [1], {}, "--losses"),
        (["dice"], [1, 1], {}, "--seeds"),
        (["dice"], [], {}, "--seeds"),
        (["dize"], [1], {}, "focal_tversky"),
        (["dice"], [1], {"dice": {"loss": "iou"}}, "loss and seed, which the comparison sets itself"),
        (["dice"], [1], {"late": {"seed": "4"}}, "--variant late"),
        (["dice"], [1], {"../up": {"epochs": "4"}}, "becomes a folder's"),
        (["dice"], [1], {"late": {"epoch": "4"}}, "no such field"),
    ],
)
def test_plans_that_are_none(
    base: Recipe, names: list[str], seeds: list[int], variants: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=message):
        plan_comparison("loss", base, names, seeds, tmp_path, variants)


@pytest.mark.heavy
def test_mlflow_has_a_parent_with_the_tables_and_a_child_for_each_run(base: Recipe, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.create_experiment(MLflowTracker.EXPERIMENT, artifact_location=(tmp_path / "artifacts").as_uri())
    plan = plan_comparison("loss", base, LOSSES, [1], tmp_path / "out")
    table = tmp_path / "comparison.md"
    table.write_text("# a table", encoding="utf-8")

    def compare_once(*more: Observer) -> None:
        with MLflowComparison(uri, plan) as parent:
            compare(
                plan,
                lambda run: [MLflowTracker(uri, parent.run_id), *more],
                lambda outcomes: parent.reported(outcomes, [table]),
            )

    with pytest.raises(KeyboardInterrupt):
        compare_once(Interrupt())
    compare_once()
    experiment = client.get_experiment_by_name(MLflowTracker.EXPERIMENT)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"out", "dice-seed1", "cross_entropy-seed1"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    parent = runs.pop("out")
    assert {run.data.tags["mlflow.parentRunId"] for run in runs.values()} == {parent.info.run_id}
    assert {name: run.data.params["loss"] for name, run in runs.items()} == {
        "dice-seed1": "dice",
        "cross_entropy-seed1": "cross_entropy",
    }
    assert set(parent.data.metrics) == {"dice miou", "cross_entropy miou"}
    assert parent.data.params["compared"] == "loss"
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["comparison.md"]
    assert np.isfinite(list(parent.data.metrics.values())).all()
