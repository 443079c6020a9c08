"""What the loop says of its health: whole at any moment, and seen to be old, whatever the clock says."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import OutputError, UsageError
from edgeseg.loop import Health, read_health
from edgeseg.loop.health import PERIOD_SECONDS, STALE_SECONDS, metrics

FRAMES = {
    "captured": 20,
    "inferred": 12,
    "overwritten": 5,
    "stale": 1,
    "failed": 1,
    "unusable": 1,
    "in_flight": 0,
}


def values(state: str = "OK", **changes: Any) -> dict[str, Any]:
    """What the supervisor tells, as far as it is looked at."""
    reason = "" if state == "OK" else "a reason"
    told = {"state": state, "reason": reason, "age_ms": 33.5, "epoch": 2, "frames": FRAMES}
    return {**told, "restarts": {"capture": 1, "inference": 0}, **changes}


def test_the_file_is_whole_at_any_moment(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    health = Health(path)
    health.tell(time.monotonic_ns(), values(epoch=0))
    done = threading.Event()

    def write() -> None:
        for epoch in range(1, 200):
            # Shorter and longer ones: over a file that was not replaced, ends would be left.
            health.tell(time.monotonic_ns(), values(epoch=epoch, padding="x" * (epoch * 7919 % 20_000)))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    epochs = []
    while not done.is_set():
        told, fresh = read_health(path)
        assert fresh
        epochs.append(told["epoch"])
    thread.join()
    assert len(set(epochs)) > 1, "it was never read while it was written"
    assert epochs == sorted(epochs)
    assert [p.name for p in tmp_path.iterdir()] == ["health.json"], "nothing is left beside it"


def test_it_is_replaced_and_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    health = Health(path)
    health.tell(time.monotonic_ns(), values("OK"))
    with path.open() as opened_before:
        health.tell(time.monotonic_ns(), values("FAILED"))
        assert json.load(opened_before)["state"] == "OK"
    assert read_health(path)[0]["state"] == "FAILED"


def test_it_is_due_twice_a_second_and_only_where_somebody_asked(tmp_path: Path) -> None:
    assert not Health().due(10**12)
    health = Health(tmp_path / "health.json")
    assert health.due(10**12)
    health.tell(10**12, values())
    period_ns = round(PERIOD_SECONDS * 1e9)
    assert not health.due(10**12 + period_ns - 1)
    assert health.due(10**12 + period_ns)
    assert STALE_SECONDS > 2 * PERIOD_SECONDS, "one that comes late is not stale yet"


def test_an_old_file_is_stale(tmp_path: Path) -> None:
    path, now_ns = tmp_path / "health.json", time.monotonic_ns()
    Health(path).tell(now_ns - round(STALE_SECONDS * 1e9) - 1, values())
    told, fresh = read_health(path)
    assert (told["state"], fresh) == ("OK", False)
    Health(path).tell(now_ns, values())
    assert read_health(path)[1]


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_wall_clock_may_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    path, wall = tmp_path / "health.json", time.time
    with Health(path, 0) as health:
        health.tell(time.monotonic_ns(), values())
        monkeypatch.setattr(time, "time", lambda: wall() + hours * 3600)
        assert read_health(path)[1]
        assert health.answer("/live")[0] == health.answer("/ready")[0] == 200
        assert not health.due(time.monotonic_ns())
        health.tell(time.monotonic_ns(), values())
        told, fresh = read_health(path)
        assert fresh
        assert told["updated"] - wall() == pytest.approx(hours * 3600, abs=60)
        monkeypatch.undo()
        assert read_health(path)[1], "nor does it matter that it jumps back"


def test_a_file_from_before_the_machine_was_started_anew_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    Health(path).tell(time.monotonic_ns(), values())
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "boot": "another"}))
    assert not read_health(path)[1]
    # Without a boot to compare, a moment that is still to come is of another one.
    path.write_text(json.dumps({**told, "updated_monotonic_ns": time.monotonic_ns() + 10**12}))
    assert not read_health(path)[1]


@pytest.mark.timeout(90)
def test_a_loop_that_was_killed_leaves_a_file_that_is_seen_to_be_old(tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path; from edgeseg.loop import Health; from test_health import values\n"
        "health = Health(Path(sys.argv[1]))\n"
        "while True: health.tell(time.monotonic_ns(), values()); time.sleep(0.05)"
    )
    here = str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", code, path, *sys.path, here])
    try:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert read_health(path)[1]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + STALE_SECONDS + 30
    while read_health(path)[1]:
        assert time.monotonic() < deadline, "a dead loop looks alive"
        time.sleep(0.05)
    assert read_health(path)[0]["state"] == "OK", "what it said last can still be read"


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"boot": 1, "updated_monotonic_ns": "x"}'])
def test_what_is_no_health_file_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "health.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match="edgeseg run --health"):
        read_health(path)


def test_a_disk_that_is_full_ends_nothing(tmp_path: Path) -> None:
    """Nor does a folder that is gone while the loop runs: here its place is taken by a file."""
    folder = tmp_path / "taken"
    folder.mkdir()
    with Health(folder / "health.json", 0) as health:
        folder.rmdir()
        folder.write_text("")
        health.tell(time.monotonic_ns(), values())
        assert health.answer("/ready")[0] == 200


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken"):
        Health(tmp_path / "taken" / "health.json")


# Answers on loopback.


@pytest.fixture
def served() -> Iterator[Health]:
    with Health(None, 0) as health:
        yield health


def get(health: Health, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", health.port or 0, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_before_the_first_word_it_is_neither_live_nor_ready(served: Health) -> None:
    assert get(served, "/live") == (503, "no word from the loop\n")
    assert get(served, "/ready") == (503, "STARTING\n")
    assert get(served, "/metrics") == (200, "")
    assert get(served, "/health") == (200, "{}")


@pytest.mark.parametrize(
    ("state", "ready"),
    [("STARTING", 503), ("OK", 200), ("DEGRADED", 200), ("FAILED", 503), ("STOPPING", 503)],
)
def test_a_loop_that_fails_is_live_but_not_ready(served: Health, state: str, ready: int) -> None:
    served.tell(time.monotonic_ns(), values(state))
    assert get(served, "/live") == (200, "live\n")
    assert get(served, "/ready?verbose") == (ready, "OK\n" if state == "OK" else f"{state} a reason\n")
    status, text = get(served, "/health")
    assert (status, json.loads(text)["state"]) == (200, state)


def test_a_supervisor_that_hangs_is_not_live(served: Health) -> None:
    served.tell(time.monotonic_ns() - round(STALE_SECONDS * 1e9) - 1, values())
    assert get(served, "/live")[0] == get(served, "/ready")[0] == 503


def test_whoever_asks_for_something_else_is_told_what_there_is(served: Health) -> None:
    status, text = get(served, "/")
    assert status == 404
    assert "/metrics" in text


def test_a_port_that_is_taken_is_refused(served: Health) -> None:
    with pytest.raises(UsageError, match=f"--health-port {served.port}"):
        Health(None, served.port)


def test_it_listens_on_loopback_alone(served: Health) -> None:
    assert served._server is not None
    assert served._server.server_address[0] == "127.0.0.1"


def test_the_port_is_free_again_afterwards() -> None:
    with Health(None, 0) as health:
        port = health.port
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port or 0))


# Prometheus.

_LINE = re.compile(r'([a-z_]+)(?:\{([a-z]+)="([A-Za-z_]+)"\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?)')


def samples(text: str) -> dict[tuple[str, str], float]:
    """Samples of the text format 0.0.4; every family has its help and its type before them."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], float] = {}
    helped: set[str] = set()
    typed: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            typed[name] = kind
        else:
            matched = _LINE.fullmatch(line)
            assert matched is not None, line
            name, _, label, number = matched.groups()
            assert name in helped
            assert typed[name] == ("counter" if name.endswith("_total") else "gauge")
            assert (name, label) not in found
            found[name, label or ""] = float(number)
    return found


def test_metrics_are_in_the_text_format_of_prometheus(served: Health) -> None:
    served.tell(time.monotonic_ns(), values("DEGRADED"))
    status, text = get(served, "/metrics")
    assert status == 200
    found = samples(text)
    states = {label: value for (name, label), value in found.items() if name == "edgeseg_state"}
    assert states == {"STARTING": 0, "OK": 0, "DEGRADED": 1, "FAILED": 0, "STOPPING": 0}
    assert found["edgeseg_age_milliseconds", ""] == 33.5
    assert found["edgeseg_epoch", ""] == 2
    assert found["edgeseg_restarts_total", "capture"] == 1


def test_what_may_fall_is_no_counter() -> None:
    found = samples(metrics(values()))
    assert found["edgeseg_frames_in_flight", ""] == 0
    counted = {label: value for (name, label), value in found.items() if name == "edgeseg_frames_total"}
    assert "in_flight" not in counted
    assert counted == {name: count for name, count in FRAMES.items() if name != "in_flight"}
