"""Training that Ray starts, against the same workers started by hand; and what is refused before that."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.cli.train import train as train_verb
from edgeseg.errors import EdgesegError, TrainingError, UsageError
from edgeseg.training import on_ray
from edgeseg.training.checkpoint import load_trainable

ROOT = Path(__file__).parents[2]
# Loopback, though Ray would rather have the machine's own address.
QUIET = {
    "PYTHONPATH": str(ROOT),
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


@pytest.mark.large
def test_two_workers_of_a_two_node_cluster_equal_workers_by_hand(bands: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'scale' is not installed")
    nodes = _start([ROOT / "tests/ray_cluster.py"], stdin=subprocess.PIPE)
    try:
        assert nodes.stdout is not None
        address = nodes.stdout.readline().strip()
        ours = _train(bands, tmp_path / "ray", "--ray", address, "--json")
        out, errors = ours.communicate(timeout=1000)
        assert ours.returncode == 0, errors
        refused = _train(bands, tmp_path / "ray2", "--ray", address, "--set", "accumulate=2")
        _, said = refused.communicate(timeout=1000)
    finally:
        nodes.communicate()
    assert json.loads(out)["run_folder"] == str(tmp_path / "ray")
    # The worker's own error and exit code, not Ray's.
    assert refused.returncode == 2, said
    assert "accumulate: expected 1 where 2 devices" in said
    workers = ",".join(f"127.0.0.1:{port}" for port in _free_ports())
    by_hand = [
        _train(bands, tmp_path / "hand", "--workers", workers, "--worker-index", str(index))
        for index in (0, 1)
    ]
    for worker in by_hand:
        _, errors = worker.communicate(timeout=1000)
        assert worker.returncode == 0, errors
    mine, theirs = (
        load_trainable(tmp_path / n / "weights/last.keras").get_weights() for n in ("ray", "hand")
    )
    for our, their in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(our, their, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ray_workers": 2}, "--ray-workers: expected --ray beside it"),
        ({"ray": "auto", "workers": "10.0.0.1:1,10.0.0.2:1"}, "no --workers"),
        ({"ray": "auto", "worker_index": 0}, "no --workers"),
    ],
)
def test_two_ways_at_once_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        train_verb(data="synthetic", **options)  # type: ignore[arg-type]


class Nodes:
    """What of Ray the count of workers asks."""

    def __init__(self, cpus: int, gpus: int) -> None:
        self._resources = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}

    def cluster_resources(self) -> dict[str, int]:
        return self._resources

    def nodes(self) -> list[dict[str, bool]]:
        return [{"Alive": True}, {"Alive": True}, {"Alive": False}]


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "given"),
    [(8, 0, None, (2, False)), (8, 4, None, (4, True)), (8, 4, 2, (2, True)), (8, 2, 4, (4, False))],
)
def test_workers_on_a_cluster(cpus: int, gpus: int, workers: int | None, given: tuple[int, bool]) -> None:
    assert on_ray._room(Nodes(cpus, gpus), workers) == given  # type: ignore[arg-type]


def test_more_workers_than_cores_are_refused() -> None:
    with pytest.raises(UsageError, match="at most the 2 cores of the cluster, found 3"):
        on_ray._room(Nodes(2, 0), 3)  # type: ignore[arg-type]


def test_the_cause_is_said_and_not_its_echo() -> None:
    def error(found: str) -> TrainingError:
        return TrainingError("x", expected="y", found=found, next_step="Z.")

    class FailureError(Exception):
        def __init__(self, **failures: Exception) -> None:
            self.worker_failures = dict(enumerate(failures.values()))

    echo, cause = error("one that no longer answers (…)"), error("a loss that is not finite")
    assert on_ray._said(FailureError(first=echo, second=cause)) is cause
    assert on_ray._said(FailureError(first=echo, second=RuntimeError("gone"))) is echo
    told: EdgesegError = on_ray._said(FailureError(first=RuntimeError("Killed by the system")))
    assert "Killed by the system" in str(told)
    assert told.exit_code == 1


def _train(data: str, out: Path, *more: str) -> subprocess.Popen[str]:
    words = ["train", "--data", data, "--out", str(out), "--model", "unet_mini", "--size", "32x32"]
    small = ["--epochs", "1", "--batch", "5", "--seed", "3", "--no-augment", "--set", "optimizer=sgd"]
    return _start(["-m", "edgeseg", *words, *small, *more])


def _start(words: list[object], stdin: int | None = None) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env=environment | QUIET, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _free_ports() -> list[int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return [one.getsockname()[1], two.getsockname()[1]]
