"""A command of the docs, run in this process, for TensorFlow to be imported once; or until it serves."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from conftest import ROOT
from edgeseg.cli import main

_SECONDS = 180


@dataclass(frozen=True)
class Outcome:
    code: int
    stdout: str
    said: str
    """What went to stderr: progress, ``Written:``, ``Next:``, and the one message of an error."""


def run_here(words: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> Outcome:
    """``edgeseg`` with these words in a folder: its exit code and what it printed."""
    before, out, said = Path.cwd(), io.StringIO(), io.StringIO()
    os.chdir(folder)
    try:
        with (
            patch.object(sys, "argv", ["edgeseg", *words]),
            patch.dict(os.environ, variables or {}),
            redirect_stdout(out),
            redirect_stderr(said),
        ):
            code = _exit_code()
    finally:
        os.chdir(before)
    return Outcome(code, out.getvalue(), said.getvalue())


def run_until(said: str, words: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Outcome:
    """``edgeseg`` as a process of its own that goes on until it is ended: once it has said this."""
    environment = {**os.environ, **variables, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "edgeseg", *words],
        cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    too_long = threading.Timer(_SECONDS, process.kill)
    too_long.start()
    lines = []
    with process:
        for line in process.stdout or ():
            lines.append(line)
            if re.search(said, line):
                _wait_until_caught(process, signal.SIGTERM)
                process.send_signal(signal.SIGTERM)
        too_long.cancel()
    return Outcome(process.returncode, "", "".join(lines))


def _wait_until_caught(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Some say where they listen a moment before they mind signals."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        (caught,) = re.findall(r"^SigCgt:\s*(\w+)$", status.read_text(), flags=re.MULTILINE)
        if int(caught, 16) >> (number - 1) & 1:
            return
        time.sleep(0.05)


def _exit_code() -> int:
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
