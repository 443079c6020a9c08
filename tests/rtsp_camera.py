"""An RTSP camera that a test can kill and start again: ``rtsp_server.py`` under the system's Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SYSTEM_PYTHON = Path("/usr/bin/python3")
SERVER = Path(__file__).with_name("rtsp_server.py")
MISSING = 77


class RtspCamera:
    """Started on the first :meth:`start`, which skips the test where the system lacks what it takes.

    Attributes:
        address: Where it can be read, the same after every start.
        process: The server, or ``None`` while it is down.
    """

    def __init__(self, *options: str) -> None:
        self.options = options
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/camera"

    def start(self) -> None:
        if not SYSTEM_PYTHON.exists():
            pytest.skip(f"the RTSP server needs {SYSTEM_PYTHON}")
        # Without this process's own variables: the system's Python must not find this one's packages.
        self.process = subprocess.Popen(
            [SYSTEM_PYTHON, SERVER, "--port", str(self.port), *self.options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": "/usr/bin:/bin"},
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        if line:
            self.port = int(line)
            return
        _, error = self.process.communicate()
        if self.process.returncode == MISSING:
            pytest.skip(error.strip())
        raise RuntimeError(f"the RTSP server did not start: {error}")

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.process = None
