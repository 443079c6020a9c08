"""``edgeseg serve`` as a process of its own, and clients that speak to it byte by byte."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import edgeseg
from edgeseg.loopback import TOKEN_VARIABLE
from process_figures import children

_START_SECONDS = 120


@dataclass
class ServiceProcess:
    """A service that listens.

    Attributes:
        said: What it has written to stderr so far.
    """

    process: subprocess.Popen[str]
    host: str
    port: int
    said: list[str] = field(default_factory=list)

    def connect(self, timeout: float = 30.0) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of an answer, on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        text = self.request("GET", "/metrics")[1].decode()
        [value] = re.findall(rf"^{name} (\S+)$", text, flags=re.MULTILINE)
        return float(value)

    def resident_mib(self) -> float:
        """Memory of the process and all its children."""
        return sum(_resident_mib(pid) for pid in _tree(self.process.pid))

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


@contextmanager
def serving(bundles: Sequence[Path | str], *options: str, **environment: str) -> Iterator[ServiceProcess]:
    """A service of these bundles on any free port; killed at the end where it still runs."""
    root = Path(edgeseg.__file__).parents[1]
    own = {name: value for name, value in os.environ.items() if name != TOKEN_VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", "serve", *map(str, bundles), "--port", "0", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**own, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **environment},
    )
    said: list[str] = []
    listening = threading.Event()

    def listen() -> None:
        for line in process.stderr or ():
            said.append(line)
            if line.startswith("Next:"):
                listening.set()
        listening.set()

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    try:
        assert listening.wait(_START_SECONDS), said
        found = re.search(r"http://([\d.]+):(\d+)", "".join(said))
        assert found, "".join(said)
        yield ServiceProcess(process, found[1], int(found[2]), said)
    finally:
        process.kill()
        process.wait()
        reader.join()
        if process.stderr:
            process.stderr.close()


def eventually(holds: object, seconds: float = 20.0) -> bool:
    """Whether a function gives true before the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.05)
    return False


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(below for child in children(pid) for below in _tree(child))]
    except OSError:
        return [pid]


def _resident_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0
