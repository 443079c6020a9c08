"""Python processes that a benchmark starts: where they find edgeseg, and what they said last."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

import edgeseg


def child_environment() -> dict[str, str]:
    """This process's, in which ``python -m`` finds edgeseg as this process found it, installed or not."""
    paths = [str(Path(edgeseg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def last_line(log: IO[bytes]) -> str:
    """Of what a child wrote into a file; empty where it wrote nothing."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
