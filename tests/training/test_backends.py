"""The same code on another backend of Keras: the same losses, scores and steps as on TensorFlow."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests/backend_run.py"

OTHERS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed"),
    )
    for name in ("jax", "torch")
]

pytestmark = pytest.mark.large


@pytest.fixture(scope="module")
def numbers(bands: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What ``backend_run.py`` gives on each backend, from the same weights."""
    root = tmp_path_factory.mktemp("backends")
    start, results = root / "start.weights.h5", {}
    for backend in ("tensorflow", "jax", "torch"):
        if importlib.util.find_spec(backend) is None:
            continue
        out = root / backend / "numbers.json"
        out.parent.mkdir()
        run = subprocess.run(
            [sys.executable, SCRIPT, bands, out, start],
            # Beside the script lies a folder that is called as the package.
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "KERAS_BACKEND": backend,
                "EDGESEG_CACHE": str(root / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        results[backend] = json.loads(out.read_text(encoding="utf-8"))
        assert results[backend]["backend"] == backend
    return results


@pytest.mark.parametrize("backend", OTHERS)
def test_every_loss_and_the_metric_are_the_same(numbers: dict[str, dict[str, Any]], backend: str) -> None:
    assert numbers[backend]["losses"] == pytest.approx(numbers["tensorflow"]["losses"], rel=1e-5)
    assert numbers[backend]["metric"] == numbers["tensorflow"]["metric"]


@pytest.mark.parametrize("backend", OTHERS)
def test_steps_on_the_device_are_the_same(numbers: dict[str, dict[str, Any]], backend: str) -> None:
    """From the same weights; one step in a dispatch as well as three."""
    one, three = numbers["tensorflow"]["steps"]
    assert three == pytest.approx(one, rel=1e-4)
    for steps in numbers[backend]["steps"]:
        # The kernels round differently, and of these few pixels one here and there falls to another class.
        assert steps[:2] == pytest.approx(one[:2], rel=5e-3)
        assert steps[2:] == pytest.approx(one[2:], abs=0.01)


@pytest.mark.parametrize("backend", OTHERS)
def test_a_run_is_continued_exactly(numbers: dict[str, dict[str, Any]], backend: str) -> None:
    runs = numbers[backend]["runs"]
    assert runs["resumed"] == pytest.approx(runs["straight"], rel=1e-5)
    assert runs["straight"][3] < runs["straight"][0], "it learns"
