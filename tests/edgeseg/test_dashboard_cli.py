"""``edgeseg dashboard``: what it refuses before a page is there, and how the server is started."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg.cli.dashboard import dashboard
from edgeseg.cli.dashboard_parts import find_runs
from edgeseg.dashboard import launch
from edgeseg.dashboard.parts import Settings
from edgeseg.errors import (
    BundleMissingError,
    DataError,
    EdgesegError,
    MissingExtraError,
    SourceError,
    UsageError,
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that would have taken the place of this process."""
    lines: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, line: lines.append([program, *line]))
    return lines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_streamlit_is_started_on_loopback_and_silent(
    started: list[list[str]], bundle: Path, tmp_path: Path
) -> None:
    port = free_port()
    dashboard([str(bundle), "http://127.0.0.1:8000"], runs=tmp_path, results=tmp_path, port=port)
    ((program, *line),) = started
    assert program == sys.executable
    for flag in (
        "--server.address=127.0.0.1",
        f"--server.port={port}",
        "--server.headless=true",
        "--browser.gatherUsageStats=false",
        "--client.showErrorDetails=none",
    ):
        assert flag in line
    settings = Settings.from_json(line[-1])
    assert settings.models == (str(bundle), "http://127.0.0.1:8000")
    assert settings.runs == settings.results == str(tmp_path)
    assert settings.make_parts().find_runs(tmp_path) == []
    assert json.loads(settings.to_json())["images"] is None


@pytest.mark.parametrize(
    "summary",
    [
        {"miou": None},
        {"evaluation": []},
        {"evaluation": {"label_resolution": 1}},
        {"evaluation": {"confusion_matrix": [1, 2]}},
        [],
    ],
)
def test_an_odd_summary_is_a_fault_of_its_run(summary: object, tmp_path: Path) -> None:
    for name, values in (("odd", summary), ("sound", {"miou": 0.5})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.yaml").write_text("model: edge\n")
        (tmp_path / name / "summary.json").write_text(json.dumps(values))
    runs = {run.name: run for run in find_runs(tmp_path)}
    assert "summary.json" in str(runs["odd"].fault)
    assert runs["odd"].summary == {}
    assert runs["sound"].summary == {"miou": 0.5}
    assert "summary.json" not in str(runs["sound"].fault)


def test_the_usual_folder_is_taken_where_it_is(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dashboard(port=free_port())
    (tmp_path / "runs").mkdir()
    dashboard(port=free_port())
    without, with_runs = (Settings.from_json(line[-1]) for line in started)
    assert (without.runs, with_runs.runs, with_runs.results) == (None, "runs", "runs")


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"models": ["gone.edgeseg"]}, BundleMissingError, "gone.edgeseg: expected a bundle"),
        ({"models": ["gone.keras"]}, UsageError, "gone.keras: expected a .keras file, found nothing there"),
        ({"models": ["ftp://host"]}, UsageError, "expected the address of a service"),
        ({"data": "folder:gone"}, DataError, "gone"),
        ({"data": "nonsense"}, EdgesegError, "nonsense"),
        ({"images": Path("gone")}, SourceError, "gone"),
        ({"runs": Path("gone")}, UsageError, "--runs gone: expected a folder, found nothing there"),
        ({"results": Path("gone")}, UsageError, "--results gone: expected a folder, found nothing there"),
    ],
)
def test_what_is_not_there_is_said_before_the_page(
    started: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    kind: type[EdgesegError],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as caught:
        dashboard(**{"port": free_port(), **arguments})
    assert message in str(caught.value)
    assert not started


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port}: expected a port of 127\.0\.0\.1 that is free"):
            launch.require_free(port)


@pytest.mark.parametrize("missing", ["streamlit", "plotly"])
def test_the_extra_is_named_where_it_is_missing(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "find_spec", lambda name: None if name == missing else object())
    with pytest.raises(MissingExtraError, match=rf"{missing}.*edgeseg\[dashboard\]"):
        dashboard()
