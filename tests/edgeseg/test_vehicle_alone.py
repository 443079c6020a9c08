"""The vehicle half works where Keras, TensorFlow and the rest of the training half are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ABSENT = ("keras", "tensorflow", "albumentations", "matplotlib", "mlflow", "onnx", "tf2onnx", "jinja2")

# What stands first on the path and refuses: the processes of the loop are given this path too.
REFUSAL = "raise ModuleNotFoundError('No module named %(name)r (blocked by the test)', name=%(name)r)"
RUN = """
import sys
sys.path.insert(0, sys.argv.pop(1))
sys.argv[0] = "edgeseg"
from edgeseg.cli import main
main()
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_without(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``run_without("run", BUNDLE, …)``: the command line where none of ``absent`` can be imported."""

    def run(*arguments: object, absent: Sequence[str] = ABSENT) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("absent")
        for name in absent:
            (folder / f"{name}.py").write_text(REFUSAL % {"name": name})
        command = [sys.executable, "-c", RUN, str(folder), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    return run


def test_run_and_predict(run_without: Run, runtime_bundle: Path, video: Path, tmp_path: Path) -> None:
    done = run_without(
        "run", runtime_bundle, "--source", video, "--sink", tmp_path / "o.mp4", "--every-frame", "--json"
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["frames"]["inferred"], values["sinks"][0]["written"]) == (30, 30)
    done = run_without("predict", runtime_bundle, video, "--out", tmp_path / "masks")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "masks").iterdir())) == 60


def test_what_is_absent_is_absent_in_the_processes_of_the_loop_too(
    run_without: Run, bundle: Path, video: Path
) -> None:
    """Or the test before this one would prove nothing: the command line itself never loads a runtime."""
    done = run_without("run", bundle, "--source", video, absent=("onnxruntime",))
    assert done.returncode != 0
    assert "onnx" in done.stderr


def test_info(run_without: Run) -> None:
    done = run_without("info", "--json")
    assert done.returncode == 0, done.stderr
    assert "unet_mini" in json.loads(done.stdout)["models"]


def test_loading_imports_nothing_of_the_training_half(runtime_bundle: Path) -> None:
    script = """
import sys
import numpy as np
import edgeseg

with edgeseg.load(sys.argv[1]) as segmenter:
    segmenter(np.zeros((48, 64, 3), np.uint8)).overlay()
import edgeseg.loop
print(*sorted({name.split(".")[0] for name in sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("edgeseg.")))
"""
    command = [sys.executable, "-c", script, str(runtime_bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    packages, own = (set(line.split()) for line in done.stdout.strip().splitlines()[-2:])
    assert not packages & {*ABSENT, "typer", "rich"}
    assert not [
        name for name in own if name.startswith(("edgeseg.training", "edgeseg.export", "edgeseg.bench"))
    ]
