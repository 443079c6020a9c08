"""``edgeseg train`` and ``edgeseg evaluate`` as a person uses them."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

# What makes a terminal show its cursor, and hide it.
SHOW, HIDE = "\x1b[?25h", "\x1b[?25l"
TINY = ["--size", "16x16", "--batch", "4", "--seed", "3", "--set", "model_options.channels=4",
        "--set", "precision=float32", "--learning-rate", "0.01"]  # fmt: skip

NO_CHECKPOINT = "expected a .keras file, found nothing there"
WRONG_PATHS = [
    (["train", "--data", "camvid:none"], 3, "expected a folder that exists, found 'none'"),
    (["train", "--data", "synthetic", "--teacher", "none.keras"], 2, NO_CHECKPOINT),
    (["train", "--data", "synthetic", "--extra-data", "coco:none?classes=car"], 3, "found 'none'"),
    (["train", "--resume", "none"], 2, "no folder"),
    (["evaluate", "none.keras", "--data", "none.yaml"], 3, "none.yaml"),
    (["evaluate", "none.keras"], 2, NO_CHECKPOINT),
    (["ensemble", "none.keras", "nor.keras", "--out", "both.keras"], 2, NO_CHECKPOINT),
]


def edgeseg(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeseg", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def trained(
    bands: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which ``edgeseg train`` ran for two epochs, and what it said."""
    folder = tmp_path_factory.mktemp("cli")
    return folder, edgeseg("train", "--data", bands, "--epochs", "2", *TINY, "--json", cwd=folder)


@pytest.mark.heavy
def test_train_says_one_line_an_epoch_and_ends_with_the_next_command(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = trained
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    epochs = [line for line in lines if line.startswith("Epoch ")]
    assert [line.split()[1] for line in epochs] == ["1/2", "2/2"]
    assert all("val mIoU" in line and "loss" in line for line in epochs)
    assert lines[-2] == "Written: runs/train/unet_mini-folder"
    assert lines[-1].startswith("Next:    edgeseg export runs/train/unet_mini-folder/weights/best.keras")
    assert "oneDNN" not in done.stderr
    assert json.loads(done.stdout)["run_folder"] == "runs/train/unet_mini-folder"
    assert (folder / "runs/train/unet_mini-folder/summary.json").is_file()


@pytest.mark.heavy
def test_evaluate_a_keras_file(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = trained
    weights = "runs/train/unet_mini-folder/weights/best.keras"
    done = edgeseg("evaluate", weights, "--json", "--worst", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    written = folder / "runs/evaluate/unet_mini-folder-val"
    assert {p.name for p in written.iterdir()} == {"summary.json", "confusion.png", "worst.png"}
    assert json.loads((written / "summary.json").read_text(encoding="utf-8")) == values
    trained_summary = json.loads((folder / "runs/train/unet_mini-folder/summary.json").read_text("utf-8"))
    assert values["label_resolution"]["miou"] == pytest.approx(trained_summary["miou"])
    assert set(values["label_resolution"]["per_class"]) == {"ground", "sky", "box"}

    table = edgeseg("evaluate", weights, "--limit", "2", cwd=folder)
    assert "Per class, 2 images" in table.stdout
    assert (folder / "runs/evaluate/unet_mini-folder-val-2").is_dir(), "the first result is kept"


@pytest.mark.heavy
def test_evaluate_on_data_of_other_classes(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = trained
    weights = "runs/train/unet_mini-folder/weights/best.keras"
    done = edgeseg("evaluate", weights, "--data", "synthetic:train=1,val=1,size=64x128", cwd=folder)
    assert done.returncode == 3
    assert "expected the model's classes: ground, sky, box" in done.stderr


@pytest.mark.heavy
def test_ctrl_c_names_the_command_that_continues(bands: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "edgeseg",
        "train",
        "--data",
        bands,
        "--epochs",
        "6",
        *TINY,
        "--out",
        "run",
    ]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Epoch "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "Continue with: edgeseg train --resume run" in rest
    assert (tmp_path / "run/weights/last.keras").is_file()
    assert "Traceback" not in rest

    done = edgeseg("train", "--resume", "run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Continuing after epoch" in done.stderr
    assert json.loads(done.stdout)["epochs"] == 6
    table = (tmp_path / "run/metrics.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in table] == ["epoch", *map(str, range(1, 7))]


def test_an_error_while_decoding_gives_the_cursor_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeseg.cli import training_progress

    terminal = Console(file=io.StringIO(), force_terminal=True, legacy_windows=False)
    monkeypatch.setattr(training_progress, "console", terminal)
    with pytest.raises(ValueError, match="no picture"), training_progress.TrainingProgress() as progress:
        progress.preparing("train", 1, 9)
        assert terminal.file.getvalue().rfind(HIDE) > terminal.file.getvalue().rfind(SHOW)
        raise ValueError("no picture")
    assert terminal.file.getvalue().rfind(SHOW) > terminal.file.getvalue().rfind(HIDE)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train"], 2, "--data: expected a dataset"),
        (["train", "--data", "synthetic", "--model", "unett"], 2, "unet_mini_source"),
        (["train", "--data", "synthetic", "--loss", "dize"], 2, "focal_tversky"),
        (["train", "--data", "synthetic", "--size", "250"], 2, "HxW"),
        (["train", "--data", "synthetic", "--set", "epoch=3"], 2, "no such field"),
        (["train", "--resume", "none", "--epochs", "3"], 2, "--epochs"),
        (["train", "--recipe", "none.yaml"], 2, "none.yaml"),
        (["evaluate", "."], 8, "manifest.json"),
        (["export", "none.keras", "--target", "arm", "--data", "synthetic"], 2, NO_CHECKPOINT),
    ],
)
def test_bad_arguments(
    arguments: list[str], code: int, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    _refused(arguments, code, message, monkeypatch, capfd)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "code", "message"), WRONG_PATHS)
def test_a_wrong_path_is_refused_before_the_slow_import_of_keras(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    for name in ("keras", "tensorflow"):
        monkeypatch.setitem(sys.modules, name, None)
    _refused(arguments, code, message, monkeypatch, capfd)
    assert not list(tmp_path.iterdir())


def _refused(
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from edgeseg.cli import main

    monkeypatch.setattr(sys, "argv", ["edgeseg", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code
    assert message in capfd.readouterr().err


def test_an_unreadable_image_stops_training_before_a_run_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / split / kind / "a.png"), np.zeros((16, 16), np.uint8))
    (tmp_path / "labels.yaml").write_text("classes: [a, b]\n", encoding="utf-8")
    (tmp_path / "train/images/a.png").write_bytes(b"no picture")
    out = tmp_path / "run"
    arguments = ["train", "--data", f"folder:{tmp_path}", "--size", "16x16", "--out", str(out)]
    _refused(arguments, 3, "a.png", monkeypatch, capfd)
    assert not out.exists()
