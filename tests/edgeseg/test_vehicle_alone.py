"""The vehicle half works where Keras, TensorFlow and the rest of the training half are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ABSENT = ("keras", "tensorflow", "albumentations", "matplotlib", "mlflow", "onnx", "tf2onnx", "jinja2")

# Puts a finder first that refuses the packages, and then runs the command line in the same process.
RUN_WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked by the test)", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["edgeseg", *sys.argv[1:]]
from edgeseg.cli import main
main()
"""


def run_without(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = RUN_WITHOUT.format(absent=set(ABSENT))
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_run_and_predict(runtime_bundle: Path, video: Path, tmp_path: Path) -> None:
    done = run_without(
        "run", runtime_bundle, "--source", video, "--sink", tmp_path / "o.mp4", "--every-frame", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["counts"]["segmented"] == 30
    done = run_without("predict", runtime_bundle, video, "--out", tmp_path / "masks")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "masks").iterdir())) == 60


def test_info() -> None:
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
