"""``edgeseg benchmark-robustness`` as a user runs it, and as one is killed in the middle of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks.robustness.partial import PARTIAL_FILE

pytest.importorskip("onnxruntime")


@pytest.mark.heavy
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    data = _labelled_folder(tmp_path / "data", (360, 480))
    asked = ("--corruptions", "frost,snow,motion_blur", "--data", f"folder:{data}", "--json")
    with _started("benchmark-robustness", bundle, *asked, "--out", tmp_path / "cut") as run:
        partial = tmp_path / "cut" / PARTIAL_FILE
        _wait(lambda: partial.is_file() and len(json.loads(partial.read_text())["finished"]) >= 3, run)
        run.send_signal(signal.SIGKILL)
        run.wait()
    kept = json.loads(partial.read_text())
    assert 3 <= len(kept["finished"]) < 16
    assert not (tmp_path / "cut" / "robustness.json").exists()
    # A mark in a finished cell: it is seen in the result only if the cell is not run again.
    kept["finished"]["frost:1"][0]["matrix"] = np.eye(3, dtype=int).tolist()
    partial.write_text(json.dumps(kept))
    resumed = _edgeseg("benchmark-robustness", bundle, *asked, "--out", tmp_path / "cut")
    whole = _edgeseg("benchmark-robustness", bundle, *asked, "--out", tmp_path / "whole")
    assert (resumed.returncode, whole.returncode) == (0, 0), resumed.stderr + whole.stderr
    first, second = (json.loads(ran.stdout)["bundles"][0] for ran in (resumed, whole))
    assert first["cells"][0]["miou"] == 1.0
    assert second["cells"][0]["miou"] < 1.0
    assert first["cells"][1:] == second["cells"][1:]
    assert first["clean"] == second["clean"]
    assert not partial.exists()


def test_the_command_and_what_it_leaves(tmp_path: Path) -> None:
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    data = _labelled_folder(tmp_path / "data", (32, 64))
    asked = (bundle, "--data", f"folder:{data}", "--samples", "2", "--severities", "5,1")
    ran = _edgeseg("benchmark-robustness", *asked, "--corruptions", "fog, jpeg", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "retained" in ran.stdout
    assert "Next:" in ran.stderr
    folder = tmp_path / "runs/robustness/toy"
    assert {path.name for path in folder.iterdir()} == {
        "robustness.json", "robustness.md", "samples.jpg", "heat-map.png", "curves.png", "report.html",
    }  # fmt: skip
    written = json.loads((folder / "robustness.json").read_text())
    assert (written["samples"], written["severities"]) == (2, [1, 5])
    assert [c["name"] for c in written["corruptions"]] == ["fog", "jpeg"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--samples", "0"), 2, "--samples"),
        (("--corruptions", "fog,hail"), 2, "corruption 'hail': expected one of"),
        (("--severities", "1,much"), 2, "--severities: expected whole numbers"),
        (("--split", "test"), 3, "split 'test'"),
    ],
)
def test_commands_that_are_refused(arguments: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    data = _labelled_folder(tmp_path / "data", (32, 64))
    out = tmp_path / "out"
    ran = _edgeseg("benchmark-robustness", bundle, "--data", f"folder:{data}", *arguments, "--out", out)
    assert (ran.returncode, said in ran.stderr) == (code, True), ran.stderr
    assert not out.exists()


def _labelled_folder(folder: Path, size: tuple[int, int]) -> Path:
    """Five images with the classes that the toy bundle finds in them."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(5):
            coarse = random.integers(0, 256, (size[0] // 4, size[1] // 4, 3)).astype(np.uint8)
            pixels = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_NEAREST)
            for kind, picture in (("images", pixels[..., ::-1]), ("masks", np.argmax(pixels, axis=-1))):
                path = folder / split / kind / f"{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), picture.astype(np.uint8))
    (folder / "labels.yaml").write_text("classes: [{name: red}, {name: green}, {name: blue}]\n")
    return folder


@contextmanager
def _started(*arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)


def _edgeseg(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240, check=False)
