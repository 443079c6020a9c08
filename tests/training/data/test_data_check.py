"""``check_dataset`` finds each fault that the issue names, all in one pass, and survives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import DataError
from edgeseg.training.data import CheckReport, check_dataset, open_dataset, prepare


def check(root: Path) -> CheckReport:
    return check_dataset(open_dataset(f"folder:{root}"))


def codes(report: CheckReport) -> list[tuple[str, str, str | None, int]]:
    return [(f.severity, f.code, f.split, f.count) for f in report.findings]


def test_a_good_folder_has_no_findings_and_right_counts(make_folder) -> None:
    report = check(make_folder(count=4))
    assert report.ok
    assert report.findings == ()
    train = report.splits["train"]
    assert (train.items, train.sizes, train.ignored) == (4, {"24x32": 4}, 0)
    # Stripes of 11, 11 and 10 columns, whose class moves on by one with each image.
    masks = [((np.arange(32) * 3 // 32 + n) % 3) for n in range(4)]
    expected = [24 * sum(int((mask == c).sum()) for mask in masks) for c in range(3)]
    assert train.histogram.tolist() == expected
    assert train.images_with.tolist() == [4, 4, 4]
    assert train.shares().sum() == pytest.approx(1)


def test_every_fault_is_found_in_one_pass(make_folder, write_pair) -> None:
    root = make_folder(count=9)
    images, masks = root / "train" / "images", root / "train" / "masks"
    (images / "frame_000.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (images / "frame_001.png").unlink()
    cv2.imwrite(str(masks / "frame_002.png"), np.zeros((5, 5), np.uint8))
    cv2.imwrite(str(masks / "frame_003.png"), np.full((24, 32), 77, np.uint8))
    cv2.imwrite(str(masks / "frame_004.png"), np.random.default_rng(0).integers(0, 3, (24, 32, 3), np.uint8))
    jpeg = cv2.imencode(".jpg", np.zeros((24, 32), np.uint8))[1].tobytes()
    (masks / "frame_005.png").unlink()
    (masks / "frame_005.jpg").write_bytes(jpeg)
    cv2.imwrite(str(masks / "frame_006.png"), np.ones((24, 32), np.uint8))
    cv2.imwrite(str(masks / "frame_007.png"), np.full((24, 32), 255, np.uint8))
    shutil.copy(images / "frame_008.png", images / "again.png")
    shutil.copy(masks / "frame_008.png", masks / "again.png")
    report = check(root)
    assert not report.ok
    assert sorted(codes(report)) == sorted(
        [
            ("error", "unpaired-mask", "train", 1),
            ("error", "unreadable-file", "train", 1),
            ("error", "size-mismatch", "train", 1),
            ("error", "unmapped-id", "train", 1),
            ("error", "rgb-mask", "train", 1),
            ("error", "jpeg-mask", "train", 1),
            ("warning", "one-class-mask", "train", 2),
            ("warning", "unlabelled-mask", "train", 1),
            ("warning", "image-twice", "train", 1),
        ]
    )
    by_code = {f.code: f for f in report.findings}
    assert "frame_003.png: ids 77" in by_code["unmapped-id"].message
    assert by_code["size-mismatch"].message.endswith("image 24x32, mask 5x5")
    assert by_code["jpeg-mask"].files[0].endswith("frame_005.jpg")
    assert [f.severity for f in report.findings] == ["error"] * 6 + ["warning"] * 3


def test_the_same_picture_in_two_splits_is_found_by_its_pixels(make_folder) -> None:
    root = make_folder(count=4)
    picture = cv2.imread(str(root / "train" / "images" / "frame_002.png"))
    cv2.imwrite(str(root / "val" / "images" / "frame_005.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    report = check(root)
    assert codes(report) == [("error", "image-in-two-splits", None, 1)]
    assert report.findings[0].files == ("frame_002 = frame_005",)


def test_a_split_cut_out_of_another_may_share_its_images(tmp_path: Path) -> None:
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"i{number}.png"), np.full((4, 4, 3), number, np.uint8))
        cv2.imwrite(str(tmp_path / f"m{number}.png"), np.arange(16, dtype=np.uint8).reshape(4, 4) % 11)
    lines = [f"i{n}.png m{n}.png" for n in range(3)]
    for split, own in (("train", lines[:2]), ("val", lines[2:]), ("train_fit", lines[:1])):
        (tmp_path / f"{split}.txt").write_text("\n".join(own))
    assert check_dataset(open_dataset(f"camvid:{tmp_path}")).ok
    (tmp_path / "train_dev.txt").write_text(lines[0])
    report = check_dataset(open_dataset(f"camvid:{tmp_path}"))
    assert [f.message for f in report.findings] == [
        "images of train_fit that are in train_dev too: 1, such as i0 = i0"
    ]


def test_absent_classes_warn_and_a_split_of_one_class_is_an_error(make_folder) -> None:
    root = make_folder(count=3)
    for path in (root / "val" / "masks").iterdir():
        cv2.imwrite(str(path), (np.arange(24 * 32).reshape(24, 32) % 2).astype(np.uint8))
    report = check(root)
    assert report.ok
    assert codes(report) == [("warning", "absent-class", "val", 1)]
    assert "no pixel of car" in report.findings[0].message
    for path in (root / "train" / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((24, 32), np.uint8))
    assert ("error", "one-class-split", "train", 1) in codes(check(root))


def test_binary_masks_without_saying_so_get_a_hint(make_folder) -> None:
    root = make_folder(count=3, labels="classes: [ground, road]")
    for path in root.glob("*/masks/*.png"):
        cv2.imwrite(str(path), (np.arange(24 * 32).reshape(24, 32) % 2 * 255).astype(np.uint8))
    assert any("masks: binary" in f.message for f in check(root).findings)
    (root / "labels.yaml").write_text("{classes: [ground, road], masks: binary}")
    assert check(root).ok


def test_a_missing_split_is_an_error(make_folder) -> None:
    root = make_folder(count=3)
    shutil.rmtree(root / "val")
    assert codes(check(root)) == [("error", "missing-split", "val", 1)]


def test_training_does_not_start_on_unpaired_files(make_folder) -> None:
    root = make_folder(count=3)
    (root / "train" / "masks" / "frame_001.png").unlink()
    with pytest.raises(DataError, match=r"1 image without a mask.*edgeseg data check"):
        prepare(open_dataset(f"folder:{root}"), "train", 16, 16)
    assert len(prepare(open_dataset(f"folder:{root}"), "val", 16, 16)) == 2


def test_the_report_is_plain_json_and_the_same_with_processes(make_folder) -> None:
    dataset = open_dataset(f"folder:{make_folder(count=6)}")
    seen: list[tuple[int, int]] = []
    alone = check_dataset(dataset, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (8, 8)
    assert json.loads(json.dumps(alone.to_dict())) == check_dataset(dataset, workers=2).to_dict()
    assert alone.to_dict()["splits"]["train"]["per_class"]["road"]["images"] == 6


@pytest.mark.data
def test_camvid_is_clean(shared_data: Path) -> None:
    report = check_dataset(open_dataset(f"camvid:{shared_data / 'camvid'}"))
    assert report.findings == ()
    assert report.splits["val"].sizes == {"360x480": 101}
    assert report.splits["train"].shares()[3] == pytest.approx(0.330, abs=0.001)
