"""The unit file: systemd understands every line, and its command is one that edgeseg takes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from edgeseg.cli.app import app
from edgeseg.loop.realtime import PRIORITIES

PROGRAM = "/opt/edgeseg/venv/bin/edgeseg"


@pytest.fixture
def unit(project_root: Path) -> str:
    return (project_root / "docs" / "edgeseg.service").read_text()


def test_systemd_understands_it(unit: str, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    file = tmp_path / "edgeseg.service"
    # The program has to be there, and on this machine it is not.
    file.write_text(unit.replace(PROGRAM, "/bin/true"))
    ran = subprocess.run([analyze, "verify", file], capture_output=True, text=True, check=False)
    # What it does not know it says, and goes on.
    assert (ran.returncode, [x for x in ran.stderr.splitlines() if file.name in x]) == (0, [])
    file.write_text(file.read_text().replace("WatchdogSec=3", "WatchdogSec=soon"))
    ran = subprocess.run([analyze, "verify", file], capture_output=True, text=True, check=False)
    assert "soon" in ran.stderr


def test_its_command_is_one_that_edgeseg_takes(unit: str) -> None:
    [line] = re.findall(r"^ExecStart=(.*)$", unit.replace("\\\n", " "), flags=re.MULTILINE)
    program, verb, *words = shlex.split(line)
    assert program == PROGRAM
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    parameters = command.make_context(verb, words).params
    assert parameters["realtime"]
    assert parameters["health"] == Path("/run/edgeseg/health.json")


def test_it_gives_what_realtime_needs(unit: str) -> None:
    assert f"LimitRTPRIO={max(PRIORITIES.values())}\n" in unit
    assert "LimitMEMLOCK=infinity\n" in unit
