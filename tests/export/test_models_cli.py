"""``edgeseg models`` on the smallest models: its counts, its files, and what it says where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.latency import Options
from edgeseg.cli.app import app
from edgeseg.cli.models_table import Cost, Table, rows
from edgeseg.errors import UnknownNameError
from edgeseg.training.models import build_model

HOST = Host("a CPU", 2, 8.0, "Linux", "x86_64", "performance", 0.1, "3.11", {"edgeseg": "0"})


def run(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["models", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    made: dict[str, Any] = json.loads(result.stdout)
    return made


def test_without_measuring_it_counts(tmp_path: Path) -> None:
    page = tmp_path / "models.md"
    size = ("--size", "32x48", "--classes", "5")
    made = run("--models", "unet_mini, edge", *size, "--no-measure", "--write", str(page))
    mini, edge = made["models"]
    assert mini["parameters"] == build_model("unet_mini", 5, 32, 48).count_params()
    assert mini["macs"] > 0
    assert (mini["litert_ms_p50"], made["measured"]) == ({}, None)
    # 32 rows are too few for it, and the table is made nevertheless.
    assert edge["parameters"] is None
    assert "Use --size 64x64" in edge["notes"][0]
    text = page.read_text()
    assert "| unet_mini | 0.47 |" in text
    assert "| edge | n/a | n/a | n/a | n/a |" in text
    assert "- edge: --size" in text
    assert not (tmp_path / "runs").exists()


@pytest.mark.heavy
def test_it_measures_and_goes_on_with_what_it_converted(tmp_path: Path) -> None:
    size = ("--size", "32x48", "--classes", "5", "--frames", "4", "--rounds", "2")
    arguments = ("--models", "unet_mini,unet_mini_source", *size, "--work", str(tmp_path))
    made = run(*arguments)
    for model in made["models"]:
        assert set(model["litert_ms_p50"]) == {"fp32", "int8"}
        assert min(model["litert_ms_p50"].values()) > 0
        assert model["litert_bytes"]["int8"] < 0.4 * model["litert_bytes"]["fp32"]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(written) == 4
    run(*arguments)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == written


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unet_mini"):
        CliRunner().invoke(app, ["models", "--models", "unet_maxi"], catch_exceptions=False)


def test_the_page_says_what_it_was_measured_on() -> None:
    costs = (
        Cost("small", {"channels": 4}, 470_000, 1_500_000_000, medians={"fp32": 12.34, "int8": 4.0}),
        Cost("broken", {}, 1_000_000, 0, medians={"fp32": 1.0}, notes=("no kernel",)),
    )
    text = Table("edgeseg models", HOST, (64, 96), 5, Options(frames=9, rounds=3), costs).to_markdown()
    assert rows(costs)[0] == ["small", "0.47", "1.50", "12.3", "4.0"]
    assert "| broken | 1.00 | 0.00 | 1.0 | n/a |" in text
    assert "- broken: no kernel" in text
    assert "9 inferences of each file in 3 rounds" in text
    assert "a CPU, 2 cores" in text
    assert "- small: `channels=4`" in text
