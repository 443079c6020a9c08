"""``edgeseg run`` as a process that is told to end, killed, or loses one of its own processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeseg.loop import read_health
from edgeseg.loop.health import STALE_SECONDS
from running_command import Run, frames_of, gone, leftovers, wait_for, workers_of

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

STOP_S = 2.0
"""So long may the end of a run take that was told to stop."""
ALLOWANCE_S = 4.0
"""What starting and ending Python takes on a machine that does other work."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """``start(*arguments, sleep=0.0)``: a run in a folder of its own, which is the same for all of a test."""
    runs: list[Run] = []

    def begin(*arguments: object, **options: Any) -> Run:
        runs.append(Run(tmp_path, *arguments, **options))
        return runs[-1]

    yield begin
    for run in runs:
        run.kill()


@pytest.mark.parametrize(
    ("during", "number"),
    [
        ("read", signal.SIGTERM),
        ("infer", signal.SIGINT),
        ("write", signal.SIGTERM),
        ("write", signal.SIGINT),
    ],
)
def test_told_to_stop_it_ends_cleanly(
    start: Callable[..., Run], tmp_path: Path, during: str, number: signal.Signals
) -> None:
    """While the camera does not return, while the model does not, and while a sink does not."""
    others = ("--sink", "stuck://") if during == "write" else ()
    run = start("--sink", "out.mp4", "--sink", "out.jsonl", *others)
    run.wait_state("OK")
    wait_for(lambda: run.health()["frames"]["inferred"] > 20, 30, "masks")
    if during != "write":
        script, kind = (run.camera, "block") if during == "read" else (run.inference, "hang")
        script.order(kind, 1000.0, lead=0.1)
        time.sleep(0.4)
    children = run.children()
    status, seconds, report, said = run.end(number)
    assert status == 0, said
    assert seconds <= STOP_S + ALLOWANCE_S
    assert report["ended"] == "stopped"
    assert gone(children)
    assert frames_of(tmp_path / "out.mp4") >= report["sinks"][0]["written"] > 0
    assert leftovers(tmp_path) == []
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert len(lines) > 2
    assert all(json.loads(line) for line in lines)
    assert 0 <= report["frames"]["in_flight"] <= 4


def test_a_video_that_cannot_be_finished_in_time_is_told_of_as_lost(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start("--sink", "slow.mp4", "--sink", "out.mp4")
    run.wait_state("OK")
    wait_for(lambda: run.health()["frames"]["inferred"] > 20, 30, "masks")
    status, seconds, report, said = run.end()
    assert (status, report["ended"]) == (7, "failed"), said
    assert seconds <= STOP_S + ALLOWANCE_S
    assert "told to stop" in report["sinks"][0]["error"]
    assert frames_of(tmp_path / "out.mp4") > 0
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "slow.mp4").exists()


def test_a_supervisor_that_is_killed_leaves_nothing_behind(start: Callable[..., Run], tmp_path: Path) -> None:
    """No process, no shared memory, no doubt: the health file grows old, and a new run begins as if it were
    the first. What its sinks had by then is finished."""
    name = f"edgeseg-test-{os.getpid()}"
    sinks = ("--sink", "out.mp4", "--sink", "out.jsonl", "--sink", f"shm://{name}")
    run = start(*sinks)
    run.wait_state("OK")
    wait_for(lambda: run.health()["frames"]["inferred"] > 20, 30, "masks")
    assert read_health(run.health_file)[1]
    children = run.children()
    assert len(children) == 3
    assert sorted(workers_of(tmp_path)) == sorted(children)
    run.process.kill()
    run.process.communicate()
    wait_for(lambda: gone(children), STOP_S + ALLOWANCE_S, "end of its processes")
    assert workers_of(tmp_path) == []
    assert not [p for p in Path("/dev/shm").iterdir() if name in p.name]
    assert frames_of(tmp_path / "out.mp4") > 0
    assert leftovers(tmp_path) == []
    time.sleep(STALE_SECONDS)
    values, fresh = read_health(run.health_file)
    assert values["state"] in ("OK", "DEGRADED")
    assert not fresh
    lines = len((tmp_path / "out.jsonl").read_text().splitlines())

    again = start(*sinks)
    again.wait_state("OK")
    status, _, report, said = again.end()
    assert status == 0, said
    assert report["frames"]["captured"] < 1000
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) > lines
    assert leftovers(tmp_path) == []


def test_each_process_that_is_killed_is_replaced(start: Callable[..., Run], tmp_path: Path) -> None:
    """The camera's, the model's, the sinks': the loop goes on, with the lines of JSON; the video, whose
    process is gone, is told of as lost."""
    run = start("--sink", "out.mp4", "--sink", "out.jsonl")
    run.wait_state("OK")
    for role in ("capture", "inference", "sinks"):
        before, masks = run.health()["processes"][role], run.health()["frames"]["inferred"]
        os.kill(before, signal.SIGKILL)
        wait_for(lambda role=role: run.health()["restarts"].get(role), 30, f"restart of {role}", run.process)
        wait_for(
            lambda masks=masks: (
                run.health()["frames"]["inferred"] > masks + 20 and run.is_in(("OK", "DEGRADED"))
            ),
            30,
            "masks",
            run.process,
        )
        assert run.health()["processes"][role] != before
    lines = len((tmp_path / "out.jsonl").read_text().splitlines())
    wait_for(lambda: len((tmp_path / "out.jsonl").read_text().splitlines()) > lines + 20, 30, "lines")
    status, _, report, said = run.end()
    assert status == 7, said
    assert report["restarts"] == {"capture": 1, "inference": 1, "sinks": 1}
    assert report["epochs"] == 2
    video, text = report["sinks"]
    assert (video["output"], text["error"]) == (None, None)
    assert "SIGKILL" in video["error"]
    assert 0 <= report["frames"]["in_flight"] <= 4
    masks = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    reasons = [m["reason"] for m in masks if m["event"] in ("state", "reason")]
    for role in ("camera: its", "inference: its", "sinks: their"):
        assert any(role in reason and "SIGKILL" in reason for reason in reasons), (role, reasons)
    numbers = [m["sequence"] for m in masks if m["event"] == "mask"]
    assert numbers == sorted(set(numbers))


def test_a_full_disk_ends_the_recording_and_nothing_else(start: Callable[..., Run], tmp_path: Path) -> None:
    """/dev/full says what a full disk says. The other sink and the model never notice."""
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    run = start("--sink", "full.jsonl", "--sink", "out.jsonl")
    run.wait_state("DEGRADED")
    health = wait_for(lambda: run.is_in(("DEGRADED",)), 30, "state", run.process)
    assert "1 sink(s) failed" in health["reason"]
    masks = run.health()["frames"]["inferred"]
    wait_for(lambda: run.health()["frames"]["inferred"] > masks + 30, 30, "masks", run.process)
    status, _, report, said = run.end()
    assert status == 7
    assert "No space left" in report["sinks"][0]["error"]
    assert "No space left" in said
    assert report["sinks"][1]["error"] is None
    assert report["sinks"][1]["written"] > 30


def test_a_small_disk_that_fills_up(start: Callable[..., Run], tmp_path: Path) -> None:
    """A real one of 2 MB, with a video on it: nothing half-written is left there."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        run = start("--sink", "disk/out.mp4", "--sink", "disk/out.jsonl", "--sink", "out.jsonl")
        run.wait_state("OK", "DEGRADED")
        (disk / "ballast").write_bytes(b"\0" * 1_900_000)
        wait_for(lambda: len(run.health()["sink_errors"]) >= 1, 90, "error", run.process)
        masks = run.health()["frames"]["inferred"]
        wait_for(lambda: run.health()["frames"]["inferred"] > masks + 30, 30, "masks", run.process)
        status, _, report, said = run.end()
        assert status == 7, said
        assert report["sinks"][2]["error"] is None
        assert leftovers(disk) == []
        lines = (disk / "out.jsonl").read_text()
        assert lines.endswith("\n")
        assert all(json.loads(line) for line in lines.splitlines())
    finally:
        subprocess.run(["umount", str(disk)], check=False)
