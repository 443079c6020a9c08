"""Sweeps on a real Ray cluster of two nodes, one of which is killed half-way; and what Ray is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra 'scale' is not installed")
pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")

from edgeseg.training.run_folder import RunFolder
from edgeseg.training.sweep.plan import read_sweep
from edgeseg.training.sweep.study import Study
from sweep_toys import times_ended

ROOT = Path(__file__).parents[2]
# Loopback, though Ray would rather have the machine's own address; read when Ray is imported: each sweep is
# a process of its own.
QUIET = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Nodes:
    """Two nodes of a processor each."""

    address: str
    process: subprocess.Popen[str]

    def say(self, word: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    process = subprocess.Popen(
        [sys.executable, ROOT / "tests/ray_cluster.py"],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield Nodes(address, process)
    finally:
        process.communicate()


@pytest.mark.large
def test_a_node_that_is_killed_loses_and_repeats_nothing(nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    process = begin(nodes, out, "--seconds", "1")
    wait_for(lambda: len(named(out, "finished")) >= 2 or process.poll() is not None)
    finished = named(out, "finished")
    nodes.say("kill")
    try:
        _, errors = process.communicate(timeout=600)
    finally:
        nodes.say("add")
    assert process.returncode == 0, errors
    study = Study(read_sweep(out))
    rows = study.rows()
    assert 2 <= len(finished) < 6, "killed half-way"
    assert [row.name for row in rows] == [f"trial-{number:04d}" for number in range(6)]
    assert {row.state for row in rows} == {"finished"}
    ended = times_ended(study.sweep)
    assert {ended[name] for name in finished} == {1}, "what was finished is not trained again"
    assert {*ended} == {row.name for row in rows}
    assert {tuple(row.reported) for row in rows} == {(1, 2, 3, 4)}


@pytest.mark.large
def test_a_driver_that_is_killed_loses_and_repeats_nothing(nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    process = begin(nodes, out, "--seconds", "1")
    wait_for(lambda: len(named(out, "finished")) >= 2 or process.poll() is not None)
    process.kill()
    process.communicate()
    before = {row.name: row for row in Study(read_sweep(out)).rows() if row.state == "finished"}
    assert 2 <= len(before) < 6, "killed half-way"
    again = begin(nodes, out)
    _, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    study = Study(read_sweep(out))
    rows = {row.name: row for row in study.rows()}
    assert {row.state for row in rows.values()} == {"finished"}
    assert len(rows) == 6
    assert {name: rows[name] for name in before} == before
    ended = times_ended(study.sweep)
    assert {ended[name] for name in before} == {1}


@pytest.mark.large
def test_states_and_resuming_are_those_of_one_machine(nodes: Nodes, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    first = begin(nodes, out, "--trials", "8", "--pruner", "median", "--failing", "trial-0001")
    _, errors = first.communicate(timeout=600)
    assert first.returncode == 0, errors
    before = Study(read_sweep(out)).rows()
    assert len(before) == 8
    assert before[1].failure == "loss: expected a number, found nan. Lower it."
    pruned = {row.name for row in before if row.state == "pruned"}
    assert pruned
    assert pruned.isdisjoint(times_ended(read_sweep(out)))

    refused = begin(nodes, out, "--trials", "10", "--refusing", "trial-0009")
    _, errors = refused.communicate(timeout=600)
    assert refused.returncode == 1
    assert "DataError: data: expected images, found none." in errors
    assert named(out, "unfinished") == ["trial-0009"]
    # Begun on a cluster, it goes on on one machine.
    here = [sys.executable, "-m", "sweep_toys", str(out), "--trials", "10"]
    subprocess.run(here, env=environment(), check=True, timeout=300)
    rows = Study(read_sweep(out)).rows()
    assert rows[:8] == before
    assert len(rows) == 10
    assert rows[9].state in ("finished", "pruned")
    assert {*times_ended(read_sweep(out)).values()} == {1}


@pytest.mark.large
def test_real_trials(nodes: Nodes, bands: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgeseg", "sweep", "--data", bands, "--size", "16x16", "--epochs", "2",
               "--batch", "4", "--set", "model_options.channels=4", "--set", "precision=float32",
               "--set", "workers=0", "--trials", "2", "--space", "lr=1e-3..1e-1:log",
               "--ray", nodes.address, "--out", "out", "--json"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [trial["state"] for trial in result["trials"]] == ["finished"] * 2
    for trial in result["trials"]:
        folder = RunFolder(tmp_path / "out/trials" / trial["trial"])
        assert len(folder.read_rows()) == 2
        summary = json.loads(folder.summary.read_text(encoding="utf-8"))
        assert trial["miou"] == pytest.approx(summary["miou"], abs=1e-6)
    assert (tmp_path / "out/best.yaml").is_file()


def begin(nodes: Nodes, out: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sweep_toys", str(out), "--ray", nodes.address, *options]
    return subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def named(out: Path, state: str) -> list[str]:
    """Trials of a state, once there is a sweep."""
    if not (out / "sweep.json").is_file():
        return []
    return [row.name for row in Study(read_sweep(out)).rows() if row.state == state]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.2)


def environment() -> dict[str, str]:
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return {**os.environ, **QUIET, "PYTHONPATH": paths}
