"""``edgeseg run`` as a process that a test starts, watches through its health file, and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

from edgeseg.loop import read_health
from scripted import Script
from toys import write_bundle

COMMAND = Path(__file__).with_name("loop_cli.py")
WORKER = "edgeseg.loop."


class Run:
    """``edgeseg run`` with a scripted camera and model, as a process."""

    def __init__(self, folder: Path, *arguments: object, sleep: float = 0.0) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.health_file = folder, folder / "health.json"
        self.camera, self.inference = Script(folder / "camera"), Script(folder / "inference")
        bundle = folder / "toy.edgeseg"
        if not bundle.exists():
            write_bundle(bundle)
        self.health_file.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    str(COMMAND),
                    "run",
                    f"{bundle}?script={folder / 'inference'}&sleep={sleep}",
                ),
                *("--source", f"synthetic://320x180@30?script={folder / 'camera'}"),
                *("--health", str(self.health_file), "--json", "--stall", "300", "--hang", "800"),
                *map(str, arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (COMMAND.parents[1], COMMAND.parent)))},
        )

    def health(self) -> dict[str, Any]:
        return read_health(self.health_file)[0]

    def wait_state(self, *states: str) -> dict[str, Any]:
        return wait_for(lambda: self.is_in(states), 60, f"{states}", self.process)

    def is_in(self, states: tuple[str, ...]) -> dict[str, Any] | None:
        """What the health file says, where the loop is in one of these states."""
        if not self.health_file.exists():
            return None
        health = self.health()
        return health if health["state"] in states else None

    def children(self) -> list[int]:
        return list(map(int, self.health()["processes"].values()))

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float, dict[str, Any], str]:
        """Exit status, seconds until it, the report, and what it said."""
        started = time.monotonic()
        self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=60)
        seconds = time.monotonic() - started
        assert "Traceback" not in stderr, stderr
        return self.process.returncode, seconds, json.loads(stdout) if stdout else {}, stderr

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def wait_for(condition: Callable[[], Any], seconds: float, what: str, process: Any = None) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.02)
    return found


def gone(pids: list[int]) -> bool:
    """Whether none of them runs; one that nobody has waited for yet does not run either."""
    return not [pid for pid in pids if _state(pid) not in ("", "Z", "X")]


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except FileNotFoundError:
        return ""


def workers_of(folder: Path) -> list[int]:
    """Processes of a loop, whoever their parent is by now: each was given its folder's bundle."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            here = (entry / "cwd").readlink() == folder
        except OSError:
            continue
        if here and WORKER.encode() in command and _state(int(entry.name)) != "Z":
            found.append(int(entry.name))
    return found


def frames_of(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.read()[0]:
        count += 1
    capture.release()
    return count


def leftovers(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if ".part" in p.name]
