"""A run that is killed outright, at any moment, and continued."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeseg.training.checkpoint import load_trainable
from edgeseg.training.checkpoint_info import read_info
from edgeseg.training.run_folder import RunFolder

# Everything that has a state: averages, gradients half gathered, a plateau, windows and variations by epoch.
SETTINGS = [
    "--data", "synthetic:train=10,val=4,size=64x128", "--model", "unet_mini", "--size", "32x64",
    "--crop", "32x32", "--batch", "2", "--epochs", "4", "--ema", "0.8", "--set", "model_options.channels=4",
    "--set", "schedule=plateau", "--set", "accumulate=2", "--set", "precision=float32",
]  # fmt: skip
STEPS = 20
FILES = ("weights/last.keras", "weights/best.keras")


class Watched:
    """The run that nobody killed, and how often a checkpoint of it was looked at while it ran."""

    def __init__(self, path: Path) -> None:
        self.folder, self.looks = RunFolder(path), 0
        process = _start(*SETTINGS, "--out", str(path))
        while process.poll() is None:
            for name in FILES:
                self.looks += _check_whole(path / name)
            time.sleep(0.002)
        assert process.returncode == 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(tmp_path_factory.mktemp("killed") / "whole")


@pytest.mark.heavy
def test_no_moment_finds_half_a_checkpoint(whole: Watched) -> None:
    """Whoever looks at the files, and whenever, finds none or a whole one."""
    assert whole.looks > 100


@pytest.mark.heavy
@pytest.mark.parametrize("steps", [pytest.param(1, marks=pytest.mark.large), 13])
def test_the_same_weights_as_of_a_run_that_nobody_killed(whole: Watched, steps: int, tmp_path: Path) -> None:
    """Killed in the middle of the first and of the third epoch."""
    folder = RunFolder(tmp_path / "run")
    process = _start(*SETTINGS, "--out", str(folder.path), kill_at=steps)
    assert process.wait(timeout=300) == -signal.SIGKILL
    for name in FILES:
        _check_whole(folder.path / name)
    info = read_info(folder.last)
    assert info is not None
    assert info.epoch == steps // 5
    # As if it had been killed while it wrote.
    half = folder.last.with_name(".last.0123abcd.part.keras")
    half.write_bytes(folder.last.read_bytes()[:1000])
    assert _start("--resume", str(folder.path)).wait(timeout=300) == 0
    assert not half.exists()
    for name in FILES:
        expected, found = load_trainable(whole.folder.path / name), load_trainable(folder.path / name)
        for a, b in zip(expected.get_weights(), found.get_weights(), strict=True):
            assert np.allclose(a, b, atol=1e-5)
    rows, again = whole.folder.read_rows(), folder.read_rows()
    assert [row.val_miou for row in again] == pytest.approx([row.val_miou for row in rows], abs=1e-6)


def _check_whole(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            assert {"config.json", "model.weights.h5", "edgeseg.json"} <= set(archive.namelist())
    except FileNotFoundError:
        return False
    return True


_KILLED = """
import os, signal, sys
from edgeseg.cli.app import main
from edgeseg.training.callbacks import StepWatch
done, ended = 0, StepWatch.on_train_batch_end
def killed(self, batch, logs=None):
    global done
    ended(self, batch, logs)
    done += 1
    if done == KILL_AT:
        os.kill(os.getpid(), signal.SIGKILL)
StepWatch.on_train_batch_end = killed
sys.argv = ["edgeseg", "train", *sys.argv[1:]]
main()
"""


def _start(*arguments: str, kill_at: int = STEPS + 1) -> subprocess.Popen[bytes]:
    program = _KILLED.replace("KILL_AT", str(kill_at))
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments], env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    )
