"""What the loop says of itself while it runs: a file that is replaced as a whole, and answers on loopback.

The file carries the moment it was written, by the wall clock and by the monotonic one with the machine's
boot: a loop that was killed leaves it behind, and whoever reads it sees that it is old.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

from edgeseg.atomic import check_writable, write_text
from edgeseg.errors import OutputError, UsageError
from edgeseg.loop.serving import QuietServer
from edgeseg.loop.states import STATES, USABLE
from edgeseg.prometheus import CONTENT_TYPE, Metric, exposition

PERIOD_SECONDS = 0.5
STALE_SECONDS = 2.0
"""A file that is older than this is of a loop that does not run any more."""
_HELP = {
    "state": "1 for the state the loop is in.",
    "frames_total": "Frames, by what became of them.",
    "frames_in_flight": "Frames on their way.",
    "age_milliseconds": "Age of the newest mask when it was finished.",
    "restarts_total": "Processes that were started anew.",
    "epoch": "How often the source was opened.",
}


class Health:
    """Keeps the file, and answers on the port.

    Args:
        path: The file; ``None``: none.
        port: Of loopback, 0 for any that is free; ``None``: nothing is answered.

    Attributes:
        port: The port that is answered on.

    Raises:
        OutputError: The file's folder cannot be written.
        UsageError: The port is taken.
    """

    def __init__(self, path: Path | None = None, port: int | None = None) -> None:
        if path is not None:
            check_writable(path.parent)
        self._path = path
        self._latest: dict[str, Any] = {}
        self._written_ns = 0
        self._server = _serve(self, port) if port is not None else None
        self.port = self._server.server_address[1] if self._server else None

    def __enter__(self) -> Health:
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def due(self, now_ns: int) -> bool:
        """Whether the time has come to tell again."""
        wanted = self._path is not None or self._server is not None
        return wanted and now_ns - self._written_ns >= PERIOD_SECONDS * 1e9

    def tell(self, now_ns: int, values: Mapping[str, Any]) -> None:
        """Take in how the loop is, and write it. A disk that is full ends nothing."""
        self._written_ns = now_ns
        self._latest = {
            "schema": 1,
            "updated": time.time(),
            "updated_monotonic_ns": now_ns,
            "stale_after_s": STALE_SECONDS,
            "boot": _boot(),
            **values,
        }
        if self._path is not None:
            with suppress(OutputError):
                write_text(self._path, json.dumps(self._latest, indent=2) + "\n")

    def answer(self, path: str) -> tuple[int, str, str]:
        """Status, type and text for a request."""
        latest = self._latest
        fresh = bool(latest) and time.monotonic_ns() - latest["updated_monotonic_ns"] < STALE_SECONDS * 1e9
        if path == "/live":
            return (200 if fresh else 503), "text/plain", "live\n" if fresh else "no word from the loop\n"
        if path == "/ready":
            state = str(latest.get("state", "STARTING"))
            good = fresh and state in USABLE
            return (200 if good else 503), "text/plain", f"{state} {latest.get('reason', '')}".strip() + "\n"
        if path == "/health":
            return 200, "application/json", json.dumps(latest)
        if path == "/metrics":
            return 200, CONTENT_TYPE, metrics(latest)
        return 404, "text/plain", "here are /live, /ready, /health and /metrics\n"


def read_health(path: Path) -> tuple[dict[str, Any], bool]:
    """What a health file says, and whether the loop that wrote it still does so.

    Raises:
        UsageError: There is none, or it is no health file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        age_s, stale_after_s = written_s_ago(values), float(values["stale_after_s"])
        _check_state(values["state"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            path,
            expected="a file that edgeseg run --health keeps",
            found=f"{type(error).__name__}: {error}",
            next_step="Check the path, and whether the loop was ever started with it.",
        ) from error
    return values, age_s is not None and 0 <= age_s < stale_after_s


def written_s_ago(values: Mapping[str, Any]) -> float | None:
    """Seconds since a health file was written; ``None`` where that was before the machine was started."""
    age_s = (time.monotonic_ns() - int(values["updated_monotonic_ns"])) / 1e9
    return round(age_s, 3) if values["boot"] == _boot() else None


def metrics(latest: Mapping[str, Any]) -> str:
    """The same in the text format of Prometheus."""
    return exposition(_metrics(latest) if latest else ())


def _metrics(latest: Mapping[str, Any]) -> Iterator[Metric]:
    for name, samples in _samples(latest).items():
        kind: Literal["counter", "gauge"] = "counter" if name.endswith("_total") else "gauge"
        yield Metric(f"edgeseg_{name}", kind, _HELP[name], samples)


def _samples(latest: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    frames = dict(latest["frames"])
    in_flight = frames.pop("in_flight")  # it falls, as no counter may
    return {
        "state": {f'{{state="{name}"}}': int(latest["state"] == name) for name in STATES},
        "frames_total": {f'{{fate="{name}"}}': value for name, value in frames.items()},
        "frames_in_flight": {"": in_flight},
        "age_milliseconds": {"": latest["age_ms"]},
        "restarts_total": {f'{{process="{name}"}}': value for name, value in latest["restarts"].items()},
        "epoch": {"": latest["epoch"]},
    }


def _serve(health: Health, port: int) -> QuietServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            status, kind, text = health.answer(self.path.partition("?")[0])
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are no news."""

    try:
        server = QuietServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UsageError(
            f"--health-port {port}",
            expected="a port of 127.0.0.1 that is free",
            found=str(error.strerror),
            next_step="Name another one, or 0 for any.",
        ) from error
    # Asked often whether it is to end, for the loop must within two seconds.
    answering = threading.Thread(
        target=server.serve_forever, args=(0.05,), name="edgeseg-health", daemon=True
    )
    answering.start()
    return server


def _check_state(state: str) -> None:
    if state not in STATES:
        raise ValueError(f"state {state!r}")


def _boot() -> str:
    """What tells this boot of the machine from others; the monotonic clock begins anew with each."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""
