"""Folders with a labels.yaml: layouts, kinds of masks, and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import DataError
from edgeseg.training.data import open_dataset


def gray(value: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def test_folder_with_splits_inside_or_outside_reads_the_same(tmp_path: Path, write_pair) -> None:
    for root in (tmp_path / "a", tmp_path / "b"):
        root.mkdir()
        (root / "labels.yaml").write_text("classes: [x, y]")
    for split in ("train", "val"):
        image = np.full((6, 8, 3), len(split), np.uint8)
        write_pair(tmp_path / "a" / split, "s", image, gray(1))
        for kind, array in (("images", image), ("masks", gray(1))):
            folder = tmp_path / "b" / kind / split
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / "s.png"), array)
    first, second = (open_dataset(f"folder:{tmp_path / name}") for name in "ab")
    assert list(first.splits) == list(second.splits) == ["train", "val"]
    assert [first.fingerprint(s) for s in first.splits] != [first.fingerprint("train")] * 2
    for split in ("train", "val"):
        one, other = next(first.samples(split)), next(second.samples(split))
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.mask, other.mask)


def test_folder_without_splits_holds_out_the_last_fifth(tmp_path: Path, write_pair) -> None:
    for number in range(11):
        write_pair(tmp_path, f"drive/{number:02d}", np.zeros((6, 8, 3), np.uint8), gray(0))
    (tmp_path / "labels.yaml").write_text("classes: [x, y]")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert [i.name for i in dataset.items("train")] == [f"drive/{n:02d}" for n in range(9)]
    assert [i.name for i in dataset.items("val")] == ["drive/09", "drive/10"]


@pytest.mark.parametrize(
    ("labels", "raw", "expected"),
    [
        ("classes: [x, y]", [0, 1, 255], [0, 1, 255]),
        ("{classes: [x, y], masks: binary}", [0, 255, 255], [0, 1, 1]),
        ("{classes: [{name: x, raw: [7, 8]}, {name: y, raw: [3]}], ignore: [0]}", [7, 3, 0], [0, 1, 255]),
        ("{classes: [{name: x, raw: [0]}, {name: y, raw: [255]}]}", [0, 255, 0], [0, 1, 0]),
    ],
)
def test_folder_masks_of_ids(tmp_path: Path, write_pair, labels: str, raw: list, expected: list) -> None:
    write_pair(tmp_path / "train", "s", np.zeros((1, 3, 3), np.uint8), np.array([raw], np.uint8))
    (tmp_path / "labels.yaml").write_text(labels)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.read_mask(dataset.items("train")[0]).tolist() == [expected]


def test_folder_masks_of_colors_and_grayscale_images(tmp_path: Path, write_pair) -> None:
    colors = np.array([[[255, 0, 0], [0, 0, 255], [0, 0, 0]]], np.uint8)
    write_pair(tmp_path / "train", "s", np.array([[9, 90, 200]], np.uint8), colors)
    (tmp_path / "labels.yaml").write_text(
        "masks: colors\n"
        "classes: [{name: red, color: [255, 0, 0]}, {name: blue, color: [0, 0, 255]}]\n"
        "ignore: [[0, 0, 0]]\n"
    )
    dataset = open_dataset(f"folder:{tmp_path}")
    sample = next(dataset.samples("train"))
    assert sample.mask.tolist() == [[0, 1, 255]]
    assert sample.image.tolist() == [[[9] * 3, [90] * 3, [200] * 3]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("classes: []", "at least 1"),
        ("classes: [x, x]", "class name given twice: x"),
        ("classes: [{name: x, raw: [1]}, {name: y, raw: [1]}]", "raw id or colour given twice: 1"),
        ("{classes: [x], masks: binary}", "binary needs two classes"),
        ("{classes: [x], masks: colors}", "needs a color"),
        ("{classes: [{name: x, color: [0, 0, 256]}]}", "less than or equal to 255"),
        ("{classes: [x], colours: 3}", "colours"),
        ("{classes: [x], ignore: [[0, 0, 0]]}", "ignore must hold raw ids with masks: ids"),
        ("{classes: [x, y], masks: binary, ignore: [[0, 0, 0]]}", "raw ids with masks: binary"),
        ("{classes: [{name: x, color: [9, 9, 9]}], masks: colors, ignore: [255]}", "must hold RGB colours"),
        ("{classes: [{name: x, raw: [99999999999]}]}", "less than or equal to 65535"),
        ("{classes: [x], ignore: [-99999999999]}", "greater than or equal to -32768"),
        ("classes: [x", "labels.yaml"),
        ("", "labels.yaml"),
    ],
)
def test_malformed_labels_say_what_is_wrong(tmp_path: Path, write_pair, labels: str, message: str) -> None:
    write_pair(tmp_path, "s", np.zeros((6, 8, 3), np.uint8), gray(0))
    (tmp_path / "labels.yaml").write_text(labels)
    with pytest.raises(DataError, match=message):
        open_dataset(f"folder:{tmp_path}")


def test_two_files_of_one_stem_are_refused(tmp_path: Path, write_pair) -> None:
    write_pair(tmp_path, "s", np.zeros((6, 8, 3), np.uint8), gray(0))
    (tmp_path / "images" / "s.jpg").touch()
    with pytest.raises(DataError, match="one file for each stem"):
        open_dataset(f"folder:{tmp_path}")


def test_ids_in_three_equal_channels_are_ids(make_folder) -> None:
    dataset = open_dataset(f"folder:{make_folder(count=2)}")
    item = dataset.items("train")[0]
    ids = dataset.read_mask(item)
    cv2.imwrite(str(item.mask), np.repeat(ids[..., None], 3, axis=2))
    np.testing.assert_array_equal(dataset.read_mask(item), ids)


def test_sixteen_bit_masks_keep_their_ids(tmp_path: Path, write_pair) -> None:
    write_pair(tmp_path / "train", "s", np.zeros((1, 2, 3), np.uint8), np.array([[26001, 7]], np.uint16))
    (tmp_path / "labels.yaml").write_text("classes: [{name: x, raw: [7]}, {name: y, raw: [26001]}]")
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.read_mask(dataset.items("train")[0]).tolist() == [[1, 0]]
