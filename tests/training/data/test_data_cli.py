"""``edgeseg data``: what each verb prints, writes and exits with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest


def edgeseg(*arguments: object, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"EDGESEG_CACHE": str(cache)} if cache else {})}
    command = [sys.executable, "-m", "edgeseg", "data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_check_of_a_good_folder_ends_with_0_and_the_next_command(make_folder) -> None:
    root = make_folder()
    ended = edgeseg("check", "--data", f"folder:{root}")
    assert ended.returncode == 0, ended.stderr
    assert "Nothing wrong was found." in ended.stdout
    assert f"edgeseg train --data folder:{root}" in ended.stderr


def test_check_of_a_bad_folder_ends_with_3_and_json_on_stdout_alone(make_folder) -> None:
    root = make_folder()
    cv2.imwrite(str(root / "train" / "masks" / "frame_001.png"), np.full((24, 32), 77, np.uint8))
    ended = edgeseg("check", "--data", f"folder:{root}", "--json")
    report = json.loads(ended.stdout)
    assert ended.returncode == 3
    assert (report["ok"], report["findings"][0]["code"]) == (False, "unmapped-id")
    assert "1 kind of error: unmapped-id" in ended.stderr
    shown = edgeseg("check", "--data", f"folder:{root}")
    assert "error: unmapped-id [train]: 1 of 8 masks" in shown.stdout
    assert shown.returncode == 3


def test_stats_gives_shares_and_sizes(make_folder) -> None:
    root = make_folder()
    ended = edgeseg("stats", "--data", f"folder:{root}", "--json")
    values = json.loads(ended.stdout)
    assert ended.returncode == 0
    assert values["classes"] == ["ground", "road", "car"]
    assert values["splits"]["train"]["sizes"] == {"24x32": 8}
    shown = edgeseg("stats", "--data", f"folder:{root}").stdout
    assert "24x32 (8)" in shown
    assert "Images with it" in shown


def test_prepare_writes_the_cache_and_says_where(make_folder, tmp_path: Path) -> None:
    root = make_folder()
    ended = edgeseg("prepare", "--data", f"folder:{root}", "--size", "16x24", "--json", cache=tmp_path / "c")
    splits = json.loads(ended.stdout)["splits"]
    assert ended.returncode == 0, ended.stderr
    assert {name: split["images"] for name, split in splits.items()} == {"train": 8, "val": 2}
    assert np.load(Path(splits["train"]["path"]) / "images.npy", mmap_mode="r").shape == (8, 16, 24, 3)
    assert "--size 16x24" in ended.stderr


def test_synthesize_writes_cityscapes_that_checks_clean(tmp_path: Path) -> None:
    out = tmp_path / "scenes"
    ended = edgeseg("synthesize", "--out", out, "--train", 4, "--val", 2, "--size", "64x96", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["scenes"] == 6
    checked = edgeseg("check", "--data", f"cityscapes8:{out}", "--json")
    assert checked.returncode == 0, checked.stderr
    assert json.loads(checked.stdout)["splits"]["train"]["sizes"] == {"64x96": 4}
    assert edgeseg("synthesize", "--out", out).returncode == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("check", "--data", "kitti:x"), 2, "dataset 'kitti': expected one of camvid"),
        (("check", "--data", "folder:/no/such/place"), 3, "a folder that exists"),
        (("prepare", "--data", "synthetic", "--size", "big"), 2, "--size: expected HxW"),
        (("prepare", "--data", "synthetic", "--size", "0x8"), 2, "size.*0x8"),
        (("prepare", "--data", "synthetic:train=1,val=1,size=64x64", "--split", "test"), 3, "train \\(1\\)"),
        (("check",), 2, "--data"),
    ],
)
def test_faults_have_their_code_and_one_message(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    ended = edgeseg(*arguments, cache=tmp_path)
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr
    assert re.search(message, ended.stderr)
