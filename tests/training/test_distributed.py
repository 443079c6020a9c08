"""Several devices and several processes against one: the same weights, the same scores."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.training.checkpoint import load_trainable
from edgeseg.training.compilation import check_accumulate
from edgeseg.training.data import open_dataset, prepare
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.distributed import ALONE, Cluster, connect, copies, mirrored, shares

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/replica_run.py"
# Means over pixels and over regions, both of the whole batch.
LOSS = "dice_cross_entropy"
WORKERS = ["10.0.0.1:2300", "10.0.0.2:2300"]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(bands: str, tmp_path: Path) -> Iterator[Start]:
    """``start(mode, index, port, epochs)`` runs the script; it writes ``MODE-INDEX.npz``."""

    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    runs: list[subprocess.Popen[str]] = []

    def run(mode: str, index: int = 0, port: int = 0, epochs: int = 2) -> object:
        out = tmp_path / f"{mode}-{index}.npz"
        begun = subprocess.Popen(
            [sys.executable, SCRIPT, mode, str(index), str(port), bands, out, LOSS, str(epochs)],
            # Beside the script lies a folder that is called as the package.
            env={
                **environment,
                "PYTHONPATH": str(ROOT),
                "EDGESEG_CACHE": str(tmp_path / f"cache-{mode}-{index}"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        runs.append(begun)
        return begun

    yield run
    for begun in runs:
        begun.kill()
        begun.wait()


@pytest.mark.heavy
def test_two_devices_and_two_processes_equal_one(start: Start, tmp_path: Path) -> None:
    """With BatchNorm, over epochs whose last batch is one image."""
    port = _free_ports()
    runs = [start("one"), start("mirrored"), *(start("workers", index, port) for index in (0, 1))]
    for run in runs:
        _, errors = run.communicate(timeout=400)
        assert run.returncode == 0, errors
    alone = np.load(tmp_path / "one-0.npz")
    for name in ("mirrored-0", "workers-0", "workers-1"):
        other = np.load(tmp_path / f"{name}.npz")
        for key in set(alone.files) - {"rows"}:
            np.testing.assert_allclose(other[key], alone[key], atol=2e-5, err_msg=f"{name} {key}")
        # A batch that goes whole to each counts for each in the mean of the losses, and nowhere else.
        np.testing.assert_allclose(other["rows"][:, 0], alone["rows"][:, 0], rtol=0.05)
        np.testing.assert_allclose(other["rows"][:, 1], alone["rows"][:, 1], atol=1e-6)
        assert other["rows"][:, 2].tolist() == [7.0, 7.0], "what the chief says"


@pytest.mark.heavy
def test_a_killed_worker_ends_the_other_with_one_message(start: Start) -> None:
    port = _free_ports()
    chief, other = (start("workers", index, port, epochs=100_000) for index in (0, 1))
    try:
        for run in (chief, other):
            assert run.stdout is not None
            assert run.stdout.readline() == "begins\n"
        other.kill()
        _, errors = chief.communicate(timeout=300)
    finally:
        for run in (chief, other):
            run.kill()
            run.communicate()
    assert chief.returncode == 1
    assert "no longer answers" in errors.splitlines()[-1]
    assert "--resume" in errors.splitlines()[-1]


def _free_ports() -> int:
    """The first of two free ports that follow each other."""
    for _ in range(100):
        with socket.create_server(("127.0.0.1", 0)) as first:
            port: int = first.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except OSError:
                continue
    raise RuntimeError("no two free ports")


@pytest.mark.parametrize(("images", "sizes"), [(5, [2, 2, 1]), (3, [1, 1, 1])])
def test_shares(images: int, sizes: list[int]) -> None:
    batch = np.arange(12 * images, dtype=np.uint8).reshape(-1, 2, 2, 3), np.ones((images, 2, 2), np.uint8)
    parts = shares(batch, 3)
    assert [len(part[0]) for part in parts] == [len(part[1]) for part in parts] == sizes
    assert np.array_equal(np.concatenate([part[0] for part in parts]), batch[0])


@pytest.mark.parametrize("counted", [True, False])
def test_copies_count_once_at_most(counted: bool) -> None:
    batch = np.full((2, 4, 4, 3), 7, np.uint8), np.ones((2, 4, 4), np.uint8)
    first, *others = copies(batch, 3, 255, counted=counted)
    assert (first[1] == (1 if counted else 255)).all()
    for images, masks in others:
        assert np.array_equal(images, batch[0])
        assert (masks == 255).all()


def test_workers_load_the_whole_batch_between_them(bands: str) -> None:
    """Two workers of two replicas: 16 images in batches of 6; the last has as many images as replicas."""
    split = prepare(open_dataset(bands), "train", 16, 16)

    class FourReplicas:
        num_replicas_in_sync = 4

    clusters = [Cluster(tuple(WORKERS), index, FourReplicas()) for index in (0, 1)]
    loaders = [BatchLoader(split, 6, seed=1, shuffle=True, part=cluster.part) for cluster in clusters]
    alone = BatchLoader(split, 6, seed=1, shuffle=True)
    for index, sizes in enumerate([(4, 2), (4, 2), (2, 2)]):
        parts = [loader.batch(0, index) for loader in loaders]
        assert tuple(len(images) for images, _ in parts) == sizes
        assert np.array_equal(np.concatenate([images for images, _ in parts]), alone.batch(0, index)[0])
    small = BatchLoader(split, 13, seed=1, shuffle=True, part=clusters[1].part)
    assert len(small.batch(0, 1)[0]) == 3, "fewer than replicas: whole for each"


def test_one_device_needs_nothing() -> None:
    assert mirrored([]) is mirrored(["GPU:0"]) is ALONE
    assert (ALONE.is_chief, ALONE.replicas, ALONE.part) == (True, 1, (0, 1, 1))
    assert ALONE.of_chief([1, 2]).tolist() == [1, 2]


def test_only_the_chief_writes_the_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.yaml").write_text("a")
    with Cluster(tuple(WORKERS), 0).run_folder(folder) as own:
        assert own == folder
    with Cluster(tuple(WORKERS), 1).run_folder(folder) as own:
        assert own != folder
        assert (own / "recipe.yaml").read_text() == "a"
        (own / "recipe.yaml").write_text("b")
    assert not own.exists()
    assert (folder / "recipe.yaml").read_text() == "a"


@pytest.mark.parametrize(
    ("workers", "index", "said"),
    [
        (["10.0.0.1:2300"], 0, "two or more"),
        (["10.0.0.1:2300", "10.0.0.1:2300"], 0, "different"),
        (["10.0.0.1:2300", "10.0.0.2"], 0, "found 10.0.0.2"),
        (["10.0.0.1:2300", "10.0.0.2:70000"], 0, "70000"),
        (WORKERS, None, "found none"),
        (WORKERS, 2, "0 to 1"),
        ([], 1, "--workers beside it, found 1"),
    ],
)
def test_workers_that_are_not_well_given(workers: list[str], index: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        connect(workers, index)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="TensorFlow backend, found KERAS_BACKEND=jax"):
        connect(WORKERS, 0)


@pytest.mark.parametrize(
    ("task", "index"), [({"type": "chief", "index": 0}, 0), ({"type": "worker", "index": 1}, 2)]
)
def test_tf_config(task: dict[str, object], index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[object] = []
    monkeypatch.setattr("edgeseg.training.distributed.meet", lambda *given: met.append(given))
    monkeypatch.setattr("edgeseg.training.distributed._connected", Cluster)
    cluster = {"chief": ["10.0.0.9:1"], "worker": WORKERS}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    made = connect()
    assert made.workers == ("10.0.0.9:1", *WORKERS)
    assert made.index == index
    assert met == [(list(made.workers), index)]


def test_a_job_of_one_machine_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"cluster": {"worker": ["10.0.0.1:2300"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(one))
    assert connect() is ALONE


def test_gradients_are_not_gathered_over_several_devices(tiny_recipe: Any) -> None:
    class TwoReplicas:
        num_replicas_in_sync = 2

    with pytest.raises(UsageError, match=r"accumulate: expected 1 where 2 devices.*--batch"):
        check_accumulate(tiny_recipe(accumulate=2), Cluster(strategy=TwoReplicas()))
    check_accumulate(tiny_recipe(accumulate=2), ALONE)


@pytest.mark.heavy
@pytest.mark.large
def test_a_whole_run_on_two_devices(bands: str, tmp_path: Path) -> None:
    """With moving averages and checkpoints, begun and resumed, as one device would have it."""
    result = subprocess.run(
        [sys.executable, ROOT / "tests/mirrored_run.py", bands, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGESEG_CACHE": str(tmp_path / "cache")},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    one, two = (json.loads((tmp_path / name / "summary.json").read_text("utf-8")) for name in ("one", "two"))
    assert two["miou"] == pytest.approx(one["miou"], abs=0.02)
    for checkpoint in ("best", "last"):
        mine, theirs = (tmp_path / name / f"weights/{checkpoint}.keras" for name in ("one", "two"))
        config = zipfile.ZipFile(theirs).read("config.json").decode()
        assert '"synchronized": false' in config
        assert '"synchronized": true' not in config
        ours, others = (load_trainable(path).get_weights() for path in (mine, theirs))
        for our, other in zip(ours, others, strict=True):
            np.testing.assert_allclose(other, our, atol=1e-3)


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {}, "task": {"type": "ps", "index": 0}}'])
def test_damaged_tf_config(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="TF_CONFIG"):
        connect()
