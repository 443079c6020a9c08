"""What TensorBoard and MLflow are told of a run, and what a failing server may not do."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.training.observer import Run
from edgeseg.training.recipe import make_recipe
from edgeseg.training.run_folder import EpochRow, RunFolder
from edgeseg.training.tracking import MLflowTracker, TensorBoardTracker


def a_run(path: Path, first_epoch: int = 0) -> Run:
    labels = LabelSet("one", (LabelClass(0, "a", (1, 2, 3)),))
    folder = RunFolder(path)
    for epoch in (1, 2):
        folder.prediction(epoch).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder.prediction(epoch)), np.zeros((30, 50, 3), np.uint8))
    recipe = make_recipe({"data": "synthetic", "model_options": {"channels": 8}})
    return Run(folder, recipe, labels, "float32", 100, 5, first_epoch)


def row(epoch: int) -> EpochRow:
    return EpochRow(epoch, 1.0 / epoch, 0.25, 1.5, 0.125 * epoch, 0.4, 1e-3, 2.0)


def test_tensorboard_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker, run = TensorBoardTracker(), a_run(tmp_path)
    tracker.started(run)
    tracker.epoch_ended(row(1), True)
    tracker.epoch_ended(row(2), True)
    tracker.ended("finished", {})
    events = EventAccumulator(str(run.folder.tensorboard))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("val_miou")] == [(1, 0.125), (2, 0.25)]
    pictures = events.Images("predictions")
    assert [(p.step, p.width, p.height) for p in pictures] == [(1, 50, 30), (2, 50, 30)]


def test_tensorboard_that_never_started_ends(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    TensorBoardTracker().ended("failed", {})


@pytest.mark.heavy
def test_mlflow_run_with_its_continuation(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.create_experiment(MLflowTracker.EXPERIMENT, artifact_location=(tmp_path / "artifacts").as_uri())
    run = a_run(tmp_path / "run")

    first = MLflowTracker(uri)
    first.started(run)
    first.epoch_ended(row(1), True)
    first.ended("interrupted", {})
    second = MLflowTracker(uri)
    second.started(a_run(tmp_path / "run", first_epoch=1))
    second.epoch_ended(row(2), True)
    second.ended("finished", {"miou": 0.5, "epochs": 2})

    experiment = client.get_experiment_by_name(MLflowTracker.EXPERIMENT)
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["model_options.channels"] == "8"
    assert found.data.metrics["label_resolution_miou"] == 0.5
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "val_miou")] == [
        (1, 0.125),
        (2, 0.25),
    ]
    assert "predictions" in {a.path for a in client.list_artifacts(found.info.run_id)}


@pytest.mark.heavy
def test_mlflow_that_fails_later_does_not_end_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    tracker = MLflowTracker(f"sqlite:///{tmp_path / 'mlflow.db'}")
    tracker.started(a_run(tmp_path / "run"))

    def down(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("the server is down")

    monkeypatch.setattr(tracker._client, "log_metric", down)
    with caplog.at_level(logging.WARNING, "edgeseg.training.tracking"):
        tracker.epoch_ended(row(1), True)
        tracker.epoch_ended(row(2), True)
        tracker.ended("finished", {})
    assert [r.getMessage().partition(":")[0] for r in caplog.records if r.name.startswith("edgeseg")] == [
        "MLflow failed and gets no more of this run; training goes on"
    ]


@pytest.mark.heavy
def test_mlflow_uri_that_cannot_be_used() -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(UsageError, match=r"--mlflow nonsense://x.*tracking server or store"):
        MLflowTracker("nonsense://x")


def test_missing_packages_name_their_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in ("tensorboard", "mlflow")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"edgeseg\[tensorboard\]"):
        TensorBoardTracker()
    with pytest.raises(MissingExtraError, match=r"edgeseg\[mlflow\]"):
        MLflowTracker("sqlite:///x.db")
