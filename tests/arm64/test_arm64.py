"""The proof on arm64 where it was asked for, and those parts of it that need neither network nor qemu."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from arm64 import machine
from arm64.compare import compare

ASKED = "EDGESEG_ARM64"


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_vehicle_half_on_arm64(project_root: Path) -> None:
    if lack := machine.missing():
        pytest.skip(f"the proof on arm64 cannot run here: {lack}")
    if not os.environ.get(ASKED):
        pytest.skip(f"the proof on arm64 downloads 150 MB and takes minutes: make arm64, or set {ASKED}=1")
    paths = os.pathsep.join([str(project_root), str(project_root / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths}
    # The cache of these tests is emptied; what was downloaded should be found again.
    environment.pop("EDGESEG_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-m", "arm64"], capture_output=True, text=True, env=environment, cwd=project_root
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything passed" in done.stdout


def _masks(folder: Path, masks: list[np.ndarray]) -> Path:
    folder.mkdir()
    for index, mask in enumerate(masks):
        cv2.imwrite(str(folder / f"{index}.png"), mask)
        (folder / f"{index}_overlay.jpg").touch()
    return folder


def test_every_differing_pixel_counts(tmp_path: Path) -> None:
    mask = np.repeat(np.arange(4, dtype=np.uint8), 250).reshape(20, 50)
    other = mask.copy()
    other[:2, 0] = 9
    agreement = compare(_masks(tmp_path / "found", [mask, other]), _masks(tmp_path / "here", [mask, mask]))
    assert (agreement.masks, agreement.pixels, agreement.differing, agreement.classes) == (2, 2000, 2, 4)
    assert agreement.share == pytest.approx(0.999)


def test_a_missing_mask_is_no_agreement(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="expected the masks"):
        compare(_masks(tmp_path / "found", [mask]), _masks(tmp_path / "here", [mask, mask]))
    with pytest.raises(ValueError, match="of the size"):
        compare(_masks(tmp_path / "small", [mask[:2], mask]), tmp_path / "here")


def test_what_is_missing_is_said_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine.shutil, "which", lambda tool: None)
    assert "apt-get install mmdebstrap qemu-user-static" in machine.missing()


def test_half_a_folder_is_never_used(tmp_path: Path) -> None:
    with pytest.raises(machine.ProofError), machine._whole(tmp_path / "root") as staging:
        (staging / "half").touch()
        raise machine.ProofError("the network went")
    assert list(tmp_path.iterdir()) == []
