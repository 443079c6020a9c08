"""What a user installs: the wheel's contents, and the vehicle half alone in a clean environment."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

import toys

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def wheel(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", str(out)]
    result = subprocess.run([*command, str(project_root)], capture_output=True, text=True, timeout=400)
    _skip_without_network(result)
    assert result.returncode == 0, result.stderr
    return next(out.glob("edgeseg-*.whl"))


def test_wheel_holds_the_project_under_one_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgeseg"}
    parts = ["py.typed", "bundle/reader.py", "training/recipe.py", "export/targets.py"]
    for part in [*parts, "benchmarks/latency.py"]:
        assert f"edgeseg/{part}" in names
    assert any(name.startswith("edgeseg/benchmarks/templates/") for name in names)


@pytest.fixture(scope="module")
def vehicle(wheel: Path, project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a clean environment that holds ``edgeseg[litert]`` and nothing else."""
    folder = tmp_path_factory.mktemp("vehicle")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "-c",
        project_root / "constraints.txt",
        f"{wheel}[litert]",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    _skip_without_network(result)
    assert result.returncode == 0, result.stderr
    return python


def test_vehicle_install_has_no_training_framework(vehicle: Path) -> None:
    listing = subprocess.run([vehicle, "-m", "pip", "list", "--format=json"], capture_output=True, text=True)
    names = {package["name"].lower() for package in json.loads(listing.stdout)}
    assert "ai-edge-litert" in names
    assert not names & {
        "keras",
        "tensorflow",
        "tensorflow-cpu",
        "jax",
        "torch",
        "albumentations",
        "matplotlib",
    }


def test_vehicle_loads_predicts_and_runs(vehicle: Path, tmp_path: Path) -> None:
    litert_bundle = toys.write_bundle(
        tmp_path / "toy.edgeseg", file="model.tflite", model=toys.tflite_model(32, 64)
    )
    image = tmp_path / "frame.png"
    cv2.imwrite(str(image), np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8))
    code = (
        "import sys, cv2, edgeseg\n"
        f"with edgeseg.load({str(litert_bundle)!r}) as segmenter:\n"
        f"    s = segmenter(cv2.cvtColor(cv2.imread({str(image)!r}), cv2.COLOR_BGR2RGB))\n"
        "    assert s.mask.shape == (120, 160), s.mask.shape\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)"
    )
    for command in (
        ["-c", code],
        ["-m", "edgeseg", "predict", str(litert_bundle), str(image), "--out", str(tmp_path / "masks")],
        ["-m", "edgeseg", "run", str(litert_bundle), "--source", str(image.parent), "--sink", "none"],
        ["-m", "edgeseg", "info"],
    ):
        result = subprocess.run([vehicle, *command], capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"


def test_missing_extra_is_one_message(vehicle: Path, tmp_path: Path) -> None:
    command = [vehicle, "-m", "edgeseg", "train", "--data", "synthetic", "--epochs", "1"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 2
    assert "pip install 'edgeseg[train]'" in result.stderr
    assert "Traceback" not in result.stderr


def _skip_without_network(result: subprocess.CompletedProcess[str]) -> None:
    """Only a missing network: a requirement that cannot be had is a fault of the project."""
    if result.returncode and any(word in result.stderr for word in ("ConnectionError", "TimeoutError")):
        pytest.skip("no package index can be reached")
