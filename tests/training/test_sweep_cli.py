"""``edgeseg sweep`` as a person uses it, and one trial as its process trains it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgeseg.cli import main, sweep_trials
from edgeseg.training.documents import Origin
from edgeseg.training.run_folder import RunFolder
from edgeseg.training.sweep.report import write_report
from edgeseg.training.sweep.results import results_of
from edgeseg.training.sweep.run import run_sweep
from edgeseg.training.sweep.study import Study
from edgeseg.training.sweep.tracking import MLflowSweep
from sweep_toys import ToyTrain, toy_sweep

if TYPE_CHECKING:
    from conftest import TinyRecipe

optuna = pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")

TINY = ["--size", "16x16", "--batch", "4", "--set", "model_options.channels=4",
        "--set", "precision=float32", "--set", "workers=0"]  # fmt: skip


def run_main(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["edgeseg", "sweep", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.heavy
@pytest.mark.large  # test_sweep.py kills a sweep; this is its message
def test_ctrl_c_names_the_command_that_continues_and_it_does(bands: str, tmp_path: Path) -> None:
    start = [sys.executable, "-m", "edgeseg", "sweep"]
    command = [*start, "--data", bands, *TINY, "--epochs", "8", "--trials", "2", "--out", "out",
               "--space", "lr=1e-3..1e-1:log", "loss=dice,cross_entropy"]  # fmt: skip
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Epoch 1/8") and any("Trial 2 of 2: trial-0001" in each for each in lines):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Continue with: edgeseg sweep --resume out\n" in rest
    first = (tmp_path / "out/trials.csv").read_text(encoding="utf-8").splitlines()[1]
    assert first.startswith("trial-0000,finished,1,")

    again = [*start, "--resume", "out", "--json"]
    done = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Continuing after epoch" in done.stderr
    assert "Trial 2 of 2: trial-0001" in done.stderr
    assert "trials/trial-0000" not in done.stderr, "it is not trained again"
    result = json.loads(done.stdout)
    assert [trial["state"] for trial in result["trials"]] == ["finished", "finished"]
    assert [trial["epochs"] for trial in result["trials"]] == [8, 8]
    assert done.stderr.splitlines()[-1] == "Next:    edgeseg train --recipe out/best.yaml"
    rows = (tmp_path / "out/trials.csv").read_text(encoding="utf-8").splitlines()
    assert rows[1].split(",")[3:] == first.split(",")[3:]


@pytest.mark.large
def test_latency_is_measured_on_an_int8_bundle_of_each_trial(bands: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeseg", "sweep", "--data", bands, *TINY, "--epochs", "1",
               "--trials", "2", "--objective", "miou,latency", "--space", "lr=1e-3..1e-1:log",
               "--set", "size=[32,32]", "--out", "out", "--json"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    for trial in result["trials"]:
        folder = tmp_path / "out/trials" / trial["trial"]
        (measured,) = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))["models"]
        assert measured["stages_ms"]["total"]["p50"] == pytest.approx(trial["latency"], abs=1e-3)
        assert (folder / "int8.edgeseg/manifest.json").is_file()
    assert (tmp_path / "out/front.png").is_file()


@pytest.mark.heavy
def test_a_trial_is_stopped_and_continued(tiny_recipe: TinyRecipe, tmp_path: Path) -> None:
    from edgeseg.training.sweep.trial import train_trial

    folder, recipe = RunFolder(tmp_path / "trials" / "trial-0000"), tiny_recipe(epochs=3)
    heard: list[tuple[int, float]] = []

    def stop(epoch: int, miou: float) -> bool:
        heard.append((epoch, miou))
        return epoch < 2

    def measure(trained: RunFolder) -> float:
        assert trained.best.is_file()
        return 4.5

    assert train_trial(recipe, folder, stop, {"latency": measure}) is None
    assert not folder.summary.exists()
    assert [epoch for epoch, _ in heard] == [1, 2]
    again: list[tuple[int, float]] = []
    values = train_trial(recipe, folder, lambda *epoch: not again.append(epoch), {"latency": measure})
    assert again[:2] == heard, "the epochs before are told again"
    assert [epoch for epoch, _ in again] == [1, 2, 3]
    assert values is not None
    assert values["latency"] == 4.5
    summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    assert values["miou"] == summary["miou"]
    finished = train_trial(recipe, folder, stop, {})
    assert finished == {"miou": summary["miou"]}, "it is not trained again, and what is over is not stopped"


@pytest.mark.heavy
def test_a_sweep_at_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    client.create_experiment("edgeseg", artifact_location=(tmp_path / "artifacts").as_uri())
    (tmp_path / "out").mkdir()
    study = Study(toy_sweep(tmp_path / "out", trials=2))
    for _ in range(2):
        with MLflowSweep(uri, study.sweep) as parent:
            run_sweep(study, ToyTrain(), lambda _: None, lambda: None)
            results = results_of(study)
            parent.reported(results, write_report(results, Origin("edgeseg sweep", "a machine")))
    experiment = client.get_experiment_by_name("edgeseg")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["space.learning_rate"] == "learning_rate=0.0001..0.01:log"
    assert results.best is not None
    assert found.data.metrics["best miou"] == pytest.approx(results.best.miou)
    assert {"trials.csv", "best.yaml", "history.png"} <= {
        a.path for a in client.list_artifacts(found.info.run_id)
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "lr=1e-4..1e-2"], "--data: expected a dataset"),
        (["--data", "synthetic"], "--space: expected FIELD=LOW..HIGH"),
        (["--data", "synthetic", "--space", "lr=1..2", "rate=1..2"], "recipe field 'rate': expected a field"),
        (["--data", "synthetic", "--space", "lr=1..2", "loss=dice,dize"], "focal_tversky"),
        (["--data", "synthetic", "--space", "lr=1..2", "--objective", "speed"], "latency, miou"),
        (["--data", "synthetic", "--space", "lr=1..2", "--pruner", "no"], "hyperband, median, none"),
        (["--data", "synthetic", "--space", "lr=1..2", "--ray", "127.0.0.1:1"], "a Ray cluster that answers"),
        (["--data", "synthetic", "--space", "lr=1..2", "--objective", "miou,latency", "--ray", "auto"],
         "latencies of different machines"),
        (["--data", "synthetic", "--space", "lr=1..2", "--trial-gpus", "1"], "expected --ray with them"),
        (["--resume", "nowhere"], "--resume nowhere: expected a folder with sweep.json, found no folder"),
    ],
)  # fmt: skip
def test_bad_arguments(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run_main(arguments, monkeypatch) == 2
    assert message in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (["--space", "lr=1e-4..1e-1"], "found --space."),
        (["--objective", "miou,latency", "--epochs", "3"], "found --epochs, --objective."),
        (["--storage", "sqlite:///other.db"], "--storage: expected none, as it began"),
    ],
)
def test_a_sweep_is_not_resumed_as_another(
    changes: list[str], found: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    study = Study(toy_sweep(tmp_path))
    study.sweep.write()
    document = study.sweep.document.read_text(encoding="utf-8")
    assert run_main(["--resume", str(tmp_path), *changes], monkeypatch) == 2
    assert found in capfd.readouterr().err
    assert study.sweep.document.read_text(encoding="utf-8") == document


def test_missing_optuna_names_its_extra(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked: dict[str, Any] = {name: None for name in sys.modules if name.split(".")[0] == "optuna"}
    for name in {"optuna", *blocked}:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.chdir(tmp_path)
    assert run_main(["--data", "synthetic", "--space", "lr=1e-4..1e-2"], monkeypatch) == 2
    assert "pip install 'edgeseg[sweep]'" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_gone_does_not_end_a_trial(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow")
    assert sweep_trials._trackers(sweep_trials._Trainer("nonsense://me:secret@x", None, ("miou",))) == []
    said = capsys.readouterr().err
    assert "MLflow is not told of this trial" in " ".join(said.split())
    assert "secret" not in said
