"""The service of a tutorial, which ours is measured beside: it serves the same network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeseg.cli.app import app
from edgeseg.export.pipeline import ExportResult


@pytest.mark.heavy
def test_both_services_give_the_same_mask(
    checkpoint: Path, exported: Callable[..., ExportResult], tmp_path: Path
) -> None:
    bundle = exported("x86", "fp32").path
    options = ["--clients", "2", "--seconds", "0.2", "--rounds", "1", "--out", str(tmp_path / "serve")]
    ran = CliRunner().invoke(app, ["benchmark-serve", str(bundle), "--against", str(checkpoint), *options])
    assert ran.exit_code == 0, ran.output
    values = json.loads((tmp_path / "serve.json").read_text())
    assert [service["name"] for service in values["services"]] == [
        "edgeseg serve",
        "FastAPI and Keras predict",
    ]
    assert values["mask_agreement"] > 0.98
    assert values["throughput_ratio"]["2"] > 0
    assert all(service["clients"]["2"]["failures"] == 0 for service in values["services"])
