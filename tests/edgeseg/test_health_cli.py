"""``edgeseg health``: what it says of a loop that runs, and of one that does not any more."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeseg.cli.health import health
from edgeseg.errors import UnhealthyError, UsageError
from edgeseg.loop.health import Health


def edgeseg(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "health.json"


def write(file: Path, state: str, reason: str = "", seconds_ago: float = 0.0) -> None:
    values = {"state": state, "reason": reason, "pid": 7, "since_s": 1.5, "fps": 29.97, "age_ms": 41.2}
    values |= {"epoch": 2, "restarts": {"inference": 1, "capture": 0}, "sink_errors": ["the disk is full"]}
    Health(file).tell(time.monotonic_ns() - round(seconds_ago * 1e9), values)


@pytest.mark.parametrize(("state", "reason"), [("OK", ""), ("DEGRADED", "masks are late")])
def test_masks_can_be_used(file: Path, capsys: pytest.CaptureFixture[str], state: str, reason: str) -> None:
    write(file, state, reason)
    health(file)
    first, second, third, *rest = capsys.readouterr().out.splitlines()
    assert first == (f"{state}: {reason}" if reason else state)
    assert second.endswith("by process 7, which still writes it")
    assert third.startswith("30.0 masks a second, the newest 41 ms old")
    assert rest == ["inference started anew 1 time(s)", "sink: the disk is full"]


@pytest.mark.parametrize(
    ("state", "reason"),
    [("FAILED", "camera: no frame for 2.0 s"), ("STARTING", "no mask yet"), ("STOPPING", "told to stop")],
)
def test_masks_cannot_be_used(
    file: Path, capsys: pytest.CaptureFixture[str], state: str, reason: str
) -> None:
    write(file, state, reason)
    with pytest.raises(UnhealthyError, match=f"found {state}: {reason}. Look at"):
        health(file)
    assert capsys.readouterr().out.startswith(f"{state}: {reason}")


def test_a_loop_that_does_not_write_any_more(file: Path) -> None:
    write(file, "OK", seconds_ago=60)
    ran = edgeseg("health", file, "--json")
    assert ran.returncode == 1
    said = json.loads(ran.stdout)
    assert (said["fresh"], said["state"]) == (False, "OK")
    assert 60 <= said["written_s_ago"] < 90
    assert ran.stderr.count("error:") == 1
    assert "found OK, written 6" in ran.stderr
    assert "start it again" in ran.stderr


def test_a_file_from_before_the_machine_was_started(file: Path) -> None:
    write(file, "OK")
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "another"}))
    with pytest.raises(UnhealthyError, match="written before the machine was started"):
        health(file)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"state": "OK"}', "\x00"])
def test_what_is_no_health_file(file: Path, text: str | None) -> None:
    if text is not None:
        file.write_text(text)
    with pytest.raises(UsageError, match="a file that edgeseg run --health keeps"):
        health(file)


def test_a_loop_is_fresh_while_it_runs_and_stale_once_it_was_killed(bundle: Path, file: Path) -> None:
    command = [sys.executable, "-m", "edgeseg", "run", bundle, "--source", "synthetic://128x64@50"]
    loop = subprocess.Popen([*command, "--health", file], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while edgeseg("health", file).returncode != 0:
            assert loop.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        loop.send_signal(signal.SIGKILL)
        loop.wait()
    time.sleep(2.0)
    ran = edgeseg("health", file)
    assert ran.returncode == 1
    assert "which does not write it any more" in ran.stdout
