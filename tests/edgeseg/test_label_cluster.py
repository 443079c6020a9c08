"""Labelling on a real Ray cluster: a node and a driver that are killed half-way lose and repeat nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeseg.labelling.shards import Record, read_shard
from toys import write_bundle, write_video

pytest.importorskip("ray", reason="the extra 'scale' is not installed")

ROOT = Path(__file__).parents[2]
VIDEOS, FRAMES, SHARD = 6, 20, 5
# Loopback, though Ray would rather have the machine's own address.
QUIET = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
}


@dataclass
class Fleet:
    """Videos, their bundle, what one process made of them, and a cluster that notes what it labels."""

    source: Path
    bundle: Path
    truth: Path
    address: str
    nodes: subprocess.Popen[str]
    notes: Path

    def say(self, word: str) -> None:
        assert self.nodes.stdin is not None
        assert self.nodes.stdout is not None
        self.nodes.stdin.write(word + "\n")
        self.nodes.stdin.flush()
        assert self.nodes.stdout.readline() == "done\n"

    def begin(self, folder: Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*_command(self.source, folder, self.bundle), "--ray", self.address, "--json"],
            env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def noted(self) -> Counter[str]:
        """How often each frame was labelled on the cluster."""
        lines = self.notes.read_text().splitlines() if self.notes.exists() else []
        return Counter(line.rpartition(" ")[0] for line in lines)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    home = tmp_path_factory.mktemp("fleet")
    source, notes = home / "drives", home / "notes"
    source.mkdir()
    for number in range(VIDEOS):
        write_video(source / f"{number}.mp4", frames=FRAMES)
    bundle = write_bundle(home / "toy.edgeseg")
    subprocess.run(_command(source, home / "truth", bundle), env=_environment(), check=True, timeout=300)
    watched = {"EDGESEG_TEST_LABELLED": str(notes), "EDGESEG_TEST_SECONDS": "0.2"}
    nodes = subprocess.Popen(
        [sys.executable, ROOT / "tests/ray_cluster.py"],
        env=_environment(f"{ROOT / 'tests/label_watch'}:{ROOT}") | watched,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert nodes.stdout is not None
        address = nodes.stdout.readline().strip()
        assert address, "the cluster did not start"
        yield Fleet(source, bundle, home / "truth", address, nodes, notes)
    finally:
        nodes.communicate()


@pytest.mark.large
def test_a_driver_killed_half_way_goes_on_and_repeats_nothing(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    driver = fleet.begin(folder)
    _wait_for(lambda: len(_finished(folder)) >= 6 or driver.poll() is not None)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    _wait_until_still(fleet.noted)
    before = _finished(folder)
    assert 6 <= len(before) < VIDEOS * FRAMES // SHARD, "killed half-way"
    finished = {key for name in before for key in _keys(folder, name)}
    again = fleet.begin(folder)
    out, errors = again.communicate(timeout=600)
    assert again.returncode == 0, errors
    assert json.loads(out)["labelled_now"] == VIDEOS * FRAMES - len(finished)
    _check_same(folder, fleet.truth)
    noted = fleet.noted()
    assert {noted[key] for key in finished} == {1}, "what was finished is not labelled again"
    assert len(noted) == VIDEOS * FRAMES
    fleet.notes.unlink()


@pytest.mark.large
def test_a_node_killed_half_way_loses_nothing(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "labels"
    driver = fleet.begin(folder)
    _wait_for(lambda: len(_finished(folder)) >= 6 or driver.poll() is not None)
    fleet.say("kill")
    try:
        finished = {key for name in _finished(folder) for key in _keys(folder, name)}
        assert len(finished) < VIDEOS * FRAMES, "killed half-way"
        _, errors = driver.communicate(timeout=600)
    finally:
        fleet.say("add")
    assert driver.returncode == 0, errors
    _check_same(folder, fleet.truth)
    noted = fleet.noted()
    assert {noted[key] for key in finished} == {1}, "what was finished is not labelled again"
    assert set(noted.values()) <= {1, 2}, "at most the shard that was being written"
    assert len(noted) == VIDEOS * FRAMES
    workers = {line.split()[1] for line in fleet.notes.read_text().splitlines()}
    assert len(workers) >= 2, "both nodes had worked"
    fleet.notes.unlink()


def _command(source: Path, folder: Path, bundle: Path) -> list[str]:
    edgeseg = [sys.executable, "-m", "edgeseg", "label", str(source), str(folder)]
    return [*edgeseg, "--bundle", str(bundle), "--shard-size", str(SHARD)]


def _environment(path: str = str(ROOT)) -> dict[str, str]:
    return {**os.environ, **QUIET, "PYTHONPATH": path}


def _finished(folder: Path) -> list[str]:
    return [path.stem for path in sorted((folder / "shards").glob("labels-*.json"))]


def _keys(folder: Path, name: str) -> list[str]:
    record = Record.read(folder / "shards" / f"{name}.json")
    tar = folder / "shards" / f"{name}.tar"
    return [frame.key for frame in read_shard(tar)] if record.count else []


def _check_same(folder: Path, truth: Path) -> None:
    """Byte by byte: the masks, the records and the manifest, and nothing else in the folder."""
    ours, theirs = (
        {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()} for f in (folder, truth)
    )
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


def _wait_for(there: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _wait_until_still(count: Callable[[], Counter[str]]) -> None:
    """The actors of a driver that was killed go on until the cluster has noticed."""
    last = -1
    while last != (last := count().total()):
        time.sleep(5)
