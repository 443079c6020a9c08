"""``edgeseg data preview``: the images, variants and stripes it shows, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.labels import LabelClass, LabelSet
from edgeseg.training.data import open_dataset
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.preview import PreviewRow, plot_preview, preview_rows
from edgeseg.training.recipe import Recipe

LABELS = LabelSet("two", (LabelClass(0, "a", (200, 0, 0)), LabelClass(1, "b", (0, 200, 0))))


def edgeseg(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", "data", "preview", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rows_of(root: Path, count: int, **fields: object) -> list[PreviewRow]:
    data = f"folder:{root}"
    recipe = Recipe(data=data, size=(24, 32), **fields)
    return list(preview_rows(open_dataset(data), recipe, count, variants=2))


def test_images_come_from_all_over_the_split_with_their_masks(make_folder) -> None:
    root = make_folder(count=9)
    rows = rows_of(root, 3, augment=AugmentConfig.none())
    assert [row.name for row in rows] == ["frame_000", "frame_004", "frame_008"]
    for row in rows:
        sample = cv2.imread(str(root / "train" / "masks" / f"{row.name}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(row.mask, sample)
        for image, mask in row.variants:
            np.testing.assert_array_equal(image, row.image)
            np.testing.assert_array_equal(mask, row.mask)
    assert len(rows_of(root, 100)) == 9


def test_variants_differ_follow_the_seed_and_have_the_size_of_the_crop(make_folder) -> None:
    root = make_folder(count=2)
    one, again, other = (rows_of(root, 1, crop=(16, 24), seed=seed)[0].variants for seed in (1, 1, 2))
    assert all((image.shape, mask.shape) == ((16, 24, 3), (16, 24)) for image, mask in one)
    assert (one[0][0] != one[1][0]).any()
    assert (one[0][0] == again[0][0]).all()
    assert (one[0][0] != other[0][0]).any()


def test_ignored_pixels_are_striped_and_classes_coloured(tmp_path: Path) -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    masks = [np.full((60, 80), value, np.uint8) for value in (0, 1, 255)]
    row = PreviewRow("x", image, masks[0], ((image, masks[1]), (image, masks[2])))
    plot_preview(tmp_path / "p.png", LABELS, [row], "title")
    picture = cv2.imread(str(tmp_path / "p.png"))[..., ::-1].astype(int)
    line = picture[picture.shape[0] // 2]
    quarter = len(line) // 4
    plain, red, green, striped = (line[q * quarter + 40 : (q + 1) * quarter - 40] for q in range(4))
    assert plain.max() < 10
    assert (red[:, 0] - red[:, 1]).min() > 60
    assert (green[:, 1] - green[:, 0]).min() > 60
    assert striped.std() > 15
    assert np.ptp(striped, axis=1).max() < 5


@pytest.mark.parametrize("crop", [None, "16x24"])
def test_the_verb_writes_the_picture_and_says_what_is_next(
    make_folder, tmp_path: Path, crop: str | None
) -> None:
    root, out = make_folder(), tmp_path / "seen.png"
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("data: camvid:elsewhere\nsize: [24, 32]\naugment: {rotate: 20}\n")
    options = ["--crop", crop] if crop else []
    ended = edgeseg("--data", f"folder:{root}", "--recipe", recipe, "--count", 2, "--out", out, *options)
    assert ended.returncode == 0, ended.stderr
    assert f"edgeseg train --data folder:{root} --recipe {recipe}" in ended.stderr
    assert cv2.imread(str(out)).std() > 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--crop", "100x100", "--size", "24x32"), "crop must lie within size 24x32"),
        (("--crop", "wide"), "--crop: expected HxW"),
        (("--set", "augment.vertical_flip=1"), "no such field"),
        (("--set", "train_split=night"), "split 'night'"),
    ],
)
def test_what_it_refuses(make_folder, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    ended = edgeseg("--data", f"folder:{make_folder()}", "--out", tmp_path / "p.png", *options)
    assert ended.returncode in (2, 3)
    assert message in ended.stderr
    assert not (tmp_path / "p.png").exists()
