"""``edgeseg train --workers``: a run by two processes that is killed and resumed, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeseg.training.checkpoint import load_trainable

ROOT = Path(__file__).parents[2]
EPOCHS = 12

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(bands: str, tmp_path: Path) -> Iterator[Start]:
    """``start(*options)`` trains a tiny model without augmentation; ``--resume`` goes on with what was."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "EDGESEG_CACHE": str(tmp_path / "cache")}
    settings = ["--data", bands, "--size", "16x16", "--epochs", EPOCHS, "--batch", "5", "--no-augment"]
    settings += ["--ema", "0.9", "--set", "model_options.channels=4", "--set", "precision=float32"]
    runs: list[subprocess.Popen[str]] = []

    def run(*options: object) -> object:
        chosen = options if "--resume" in options else (*settings, *options)
        begun = subprocess.Popen(
            [sys.executable, "-m", "edgeseg", "train", *map(str, chosen)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        runs.append(begun)
        return begun

    yield run
    for begun in runs:
        begun.kill()
        begun.communicate()


@pytest.mark.heavy
@pytest.mark.large
def test_two_workers_killed_and_resumed_end_where_one_process_does(start: Start, tmp_path: Path) -> None:
    alone, chief, other = (tmp_path / name for name in ("alone", "chief", "other"))
    single = start("--out", alone)
    workers = start_both(start, ("--out", chief), ("--out", tmp_path / "never"))
    wait_for_epochs(chief, 2, workers)
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
    assert epochs_of(chief) < EPOCHS, "it was over before"
    shutil.copytree(chief, other)
    for worker in (*start_both(start, ("--resume", chief), ("--resume", other)), single):
        _, errors = worker.communicate(timeout=400)
        assert worker.returncode == 0, errors
    assert epochs_of(chief) == EPOCHS
    ours, theirs = (load_trainable(run / "weights/last.keras").get_weights() for run in (alone, chief))
    for mine, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(their, mine, atol=1e-3)


@pytest.mark.heavy
def test_workers_that_differ_are_refused(start: Start, tmp_path: Path) -> None:
    """Each of its variables is made by both together: with another optimiser they would wait for ever."""
    folders = tmp_path / "a", tmp_path / "b"
    first, second = (("--out", folders[0]), ("--out", folders[1], "--set", "optimizer=sgd"))
    for number, worker in enumerate(start_both(start, first, second)):
        _, errors = worker.communicate(timeout=400)
        said = " ".join(errors.split())
        assert worker.returncode == 1, said
        assert f"worker {number}: expected the same recipe at every worker" in said
    assert not any(folder.exists() for folder in folders)


def start_both(start: Start, *options: tuple[object, ...]) -> list[subprocess.Popen[str]]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    workers = ",".join(f"127.0.0.1:{port}" for port in ports)
    return [start(*o, "--workers", workers, "--worker-index", index) for index, o in enumerate(options)]


def wait_for_epochs(run: Path, count: int, workers: list[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + 300
    while epochs_of(run) < count:
        assert all(worker.poll() is None for worker in workers), [worker.communicate() for worker in workers]
        assert time.monotonic() < until, "no epoch ended"
        time.sleep(0.05)


def epochs_of(run: Path) -> int:
    rows = run / "metrics.csv"
    return len(rows.read_text().splitlines()) - 1 if rows.is_file() else 0
