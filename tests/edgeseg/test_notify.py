"""What a service manager hears, through a real socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeseg.loop.notify import Notifier

SECOND = 1_000_000_000


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """The address as it stands in the environment, and the socket behind it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@edgeseg-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0", 1))
        listening.setblocking(False)
        yield address, listening


def test_ready_comes_once_and_with_the_first_good_state(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    notifier.tick(10 * SECOND, "STARTING", "no mask yet")
    assert _heard(listening) == ["STATUS=STARTING: no mask yet", "EXTEND_TIMEOUT_USEC=30000000"]
    notifier.tick(12 * SECOND, "DEGRADED", "masks are late")
    assert _heard(listening) == ["READY=1", "STATUS=DEGRADED: masks are late"]
    notifier.tick(14 * SECOND, "FAILED", "camera: no frame")
    notifier.tick(16 * SECOND, "OK", "")
    assert _heard(listening) == ["STATUS=FAILED: camera: no frame", "STATUS=OK"]
    notifier.stopping()
    assert _heard(listening) == ["STOPPING=1", "STATUS=STOPPING"]
    notifier.stopping()
    notifier.tick(20 * SECOND, "OK", "")
    assert _heard(listening) == []


def test_the_watchdog_hears_of_a_loop_whose_camera_is_gone(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}
    notifier = Notifier.from_environment(environment)
    for tenth in range(40):
        notifier.tick(tenth * SECOND // 10 + SECOND, "FAILED", f"camera: no frame for {tenth / 10:.1f} s")
    heard = _heard(listening)
    # Three times in a period, though the supervisor goes round more often; statuses are limited alike.
    assert heard.count("WATCHDOG=1") == 4
    assert len([line for line in heard if line.startswith("STATUS=FAILED")]) == 4


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"NOTIFY_SOCKET": ""},
        {"NOTIFY_SOCKET": "vsock:2:1234"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "1"},
    ],
)
def test_nobody_listens(environment: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environment)
    notifier.tick(SECOND, "OK", "")
    notifier.stopping()


def test_a_watchdog_for_another_process_is_not_answered(manager: tuple[str, socket.socket]) -> None:
    address, listening = manager
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    Notifier.from_environment(environment).tick(SECOND, "OK", "")
    assert _heard(listening) == ["READY=1", "STATUS=OK"]


def test_a_manager_that_does_not_read_holds_nothing_up(manager: tuple[str, socket.socket]) -> None:
    notifier = Notifier(manager[0], watchdog_us=3)
    for second in range(1000):
        notifier.tick((second + 1) * SECOND, "OK", str(second))


def test_the_loop_tells_it(
    bundle: Path, make_video: Callable[..., Path], manager: tuple[str, socket.socket]
) -> None:
    address, listening = manager
    # Nobody reads before the end, and the kernel keeps ten datagrams: so a watchdog that wants few.
    ran = subprocess.run(
        [sys.executable, "-m", "edgeseg", "run", bundle, "--source", make_video(frames=50)],
        env={**os.environ, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "9000000"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    heard = _heard(listening)
    assert heard.count("READY=1") == 1
    assert "WATCHDOG=1" in heard
    assert heard[-2:] == ["STOPPING=1", "STATUS=STOPPING"]


def _heard(listening: socket.socket) -> list[str]:
    lines = []
    while True:
        try:
            lines += listening.recv(4096).decode().split("\n")
        except BlockingIOError:
            return lines
