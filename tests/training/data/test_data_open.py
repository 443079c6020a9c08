"""Opening datasets: CamVid, the Cityscapes tree, data.yaml, and files that are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import DataError, LabelError, UnknownNameError, UsageError
from edgeseg.training.data import DATASETS, check_spec, open_dataset


def gray(value: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def test_camvid_has_the_official_splits_and_ignores_void(shared_data: Path) -> None:
    dataset = open_dataset(f"camvid:{shared_data / 'camvid'}")
    assert {name: len(items) for name, items in dataset.splits.items()} == {
        "train": 367,
        "val": 101,
        "train_fit": 295,
        "train_dev": 66,
    }
    sample = next(dataset.samples("val"))
    raw = cv2.imread(str(dataset.items("val")[0].mask), cv2.IMREAD_UNCHANGED)
    assert sample.image.shape == (360, 480, 3)
    np.testing.assert_array_equal(sample.mask, np.where(raw == 11, 255, raw))


def test_camvid_reads_the_tutorials_own_split_files(tmp_path: Path) -> None:
    for folder, array in (("train", np.zeros((6, 8, 3), np.uint8)), ("trainannot", gray(3))):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), array)
    (tmp_path / "train.txt").write_text("/SegNet/CamVid/train/a.png /SegNet/CamVid/trainannot/a.png\n\n")
    dataset = open_dataset(f"camvid:{tmp_path}")
    assert list(dataset.splits) == ["train"]
    assert dataset.read_mask(dataset.items("train")[0]).tolist() == gray(3).tolist()


def test_camvid_road_is_the_road_and_the_rest(tmp_path: Path) -> None:
    raw = np.arange(12, dtype=np.uint8).reshape(2, 6)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((2, 6, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a_ids.png"), raw)
    (tmp_path / "train.txt").write_text("a.png a_ids.png\n")
    dataset = open_dataset(f"camvid_road:{tmp_path}")
    assert (dataset.name, dataset.labels.names) == ("camvid_road", ("other", "road"))
    mask = dataset.read_mask(dataset.items("train")[0])
    assert mask.tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 255]]
    assert dataset.fingerprint("train") != open_dataset(f"camvid:{tmp_path}").fingerprint("train")


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("camvit:none", UnknownNameError, "camvid"),
        ("camvid", UsageError, "camvid:PATH"),
        ("camvid:none", DataError, "expected a folder that exists, found 'none'"),
        ("coco:none?classes=car", DataError, "expected a folder that exists, found 'none'"),
        ("none.yaml", DataError, r"none\.yaml"),
    ],
)
def test_a_spec_that_names_nothing_is_refused_alike_before_it_is_opened(
    spec: str, error: type[Exception], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for refusing in (check_spec, open_dataset):
        with pytest.raises(error, match=message):
            refusing(spec)


@pytest.mark.parametrize(
    "form", [f"{name}:PATH" for name in DATASETS] + ["coco:PATH?classes=car", "synthetic"]
)
def test_a_folder_without_a_dataset_passes_the_check_for_no_file_is_read(form: str, tmp_path: Path) -> None:
    check_spec(form.replace("PATH", str(tmp_path)))


def test_a_malformed_split_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a.png b.png\nonly.png\n")
    with pytest.raises(DataError, match=r"train\.txt, line 2.*'image annotation'"):
        open_dataset(f"camvid:{tmp_path}")


def test_a_split_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_bytes("für.png für.png".encode("latin-1"))
    with pytest.raises(DataError, match=r"train\.txt: expected a text file in UTF-8"):
        open_dataset(f"camvid:{tmp_path}")


def test_cityscapes_tree_is_paired_by_city_and_frame(tmp_path: Path) -> None:
    for split, city in (("train", "aachen"), ("train", "bonn"), ("val", "ulm")):
        _write_cityscapes(tmp_path, split, city, image=True, mask=True)
    _write_cityscapes(tmp_path, "train", "celle", image=True, mask=False)
    dataset = open_dataset(f"cityscapes19:{tmp_path}")
    assert [i.name for i in dataset.splits["train"]] == [
        "aachen/aachen_000000_000019",
        "bonn/bonn_000000_000019",
    ]
    assert dataset.read_mask(dataset.items("val")[0]).tolist() == gray(13).tolist()  # raw 26, car
    assert [p.code for p in dataset.problems] == ["unpaired-image"]
    with pytest.raises(DataError, match=r"1 image without a mask.*celle"):
        dataset.items("train")


def test_cityscapes_without_labels_for_a_split_leaves_that_split_out(tmp_path: Path) -> None:
    _write_cityscapes(tmp_path, "train", "aachen", image=True, mask=True)
    _write_cityscapes(tmp_path, "test", "berlin", image=True, mask=False)
    dataset = open_dataset(f"cityscapes8:{tmp_path}")
    assert (list(dataset.splits), dataset.problems) == (["train"], ())


def test_data_yaml_names_folder_labels_and_splits(make_folder) -> None:
    root = make_folder(count=3)
    (root / "labels.yaml").rename(root / "other.yaml")
    file = root.parent / "data.yaml"
    file.write_text(
        "{dataset: folder, path: yard, labels: yard/other.yaml, splits: {train: [train, val], val: val}}"
    )
    dataset = open_dataset(str(file))
    assert dataset.spec == str(file)
    assert dataset.labels.names == ("ground", "road", "car")
    assert [i.name for i in dataset.items("train")][-1] == "val/frame_004"
    assert len(dataset.items("train")) == 5
    assert len(dataset.items("val")) == 2


def test_data_yaml_with_labels_inside_and_a_synthetic_one(make_folder) -> None:
    root = make_folder(count=2)
    inside = root.parent / "a.yaml"
    inside.write_text("{dataset: folder, path: yard, labels: {classes: [a, b, c, d]}}")
    assert open_dataset(str(inside)).labels.names == ("a", "b", "c", "d")
    drawn = root.parent / "b.yaml"
    drawn.write_text("{dataset: synthetic, path: 'train=3,val=2'}")
    assert len(open_dataset(str(drawn)).items("train")) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset: nothing", "one of camvid"),
        ("{dataset: folder, path: yard, splits: {train: fit}}", "splits fit; there are train, val"),
        ("{dataset: folder, path: yard, extra: 1}", "extra"),
        ("{dataset: synthetic, labels: {classes: [a]}}", "brings its own"),
        ("[1", "data.yaml"),
    ],
)
def test_a_malformed_data_yaml_says_what_is_wrong(make_folder, text: str, message: str) -> None:
    file = make_folder(count=2).parent / "data.yaml"
    file.write_text(text)
    with pytest.raises((DataError, UnknownNameError), match=message):
        open_dataset(str(file))


def test_unknown_datasets_and_missing_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UnknownNameError,
        match="camvid, camvid_road, cityscapes19, cityscapes7, cityscapes8, coco, folder, synthetic",
    ):
        open_dataset("kitti:somewhere")
    with pytest.raises(UsageError, match="camvid:PATH"):
        open_dataset("camvid")
    for name in DATASETS.keys() - {"synthetic"}:
        with pytest.raises(DataError, match="a folder that exists"):
            open_dataset(f"{name}:{tmp_path / 'none'}")
        with pytest.raises(DataError, match="an empty folder"):
            open_dataset(f"{name}:{tmp_path}")


def test_an_unknown_split_lists_those_there_are(make_folder) -> None:
    dataset = open_dataset(f"folder:{make_folder(count=3)}")
    with pytest.raises(DataError, match=r"train \(3\), val \(2\)"):
        dataset.items("test")


def test_bad_files_name_themselves(make_folder) -> None:
    root = make_folder(count=2)
    dataset = open_dataset(f"folder:{root}")
    item = dataset.items("train")[0]
    good = item.image.read_bytes()
    for content, found in ((good[:-30], "cut short"), (b"", "empty file"), (b"text", "damaged file")):
        item.image.write_bytes(content)
        with pytest.raises(DataError, match=rf"frame_000\.png: .*{found}"):
            dataset.read(item)
    item.image.unlink()
    with pytest.raises(DataError, match="No such file"):
        dataset.read(item)


def test_a_jpeg_that_is_cut_short_is_seen(tmp_path: Path, write_pair) -> None:
    write_pair(tmp_path / "train", "s", None, gray(0, 64, 64))
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[
        1
    ].tobytes()
    (tmp_path / "labels.yaml").write_text("classes: [x, y]")
    file = tmp_path / "train" / "images" / "s.jpg"
    file.write_bytes(whole)
    dataset = open_dataset(f"folder:{tmp_path}")
    assert dataset.read(dataset.items("train")[0]).image.shape == (64, 64, 3)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        dataset.read(dataset.items("train")[0])


def test_masks_that_are_no_masks_are_refused(make_folder) -> None:
    root = make_folder(count=2)
    dataset = open_dataset(f"folder:{root}")
    item = dataset.items("train")[0]
    cases = {
        "ids 3, 9": np.array([[0, 3, 9]], np.uint8),
        "colours in 3 channels": np.array([[[1, 2, 3]]], np.uint8),
    }
    for found, array in cases.items():
        cv2.imwrite(str(item.mask), array)
        with pytest.raises(DataError, match=rf"frame_000\.png: .*{found}"):
            dataset.read_mask(item)
    item.mask.write_bytes(cv2.imencode(".jpg", gray(0))[1].tobytes())
    with pytest.raises(DataError, match="JPEG, whose compression"):
        dataset.read_mask(item)
    cv2.imwrite(str(item.mask), gray(0, 5, 5))
    with pytest.raises(DataError, match="size of its image, 24x32, found 5x5"):
        dataset.read(item)
    assert issubclass(LabelError, DataError)


def test_the_fingerprint_follows_contents_and_mapping_but_not_the_place(make_folder, tmp_path: Path) -> None:
    root = make_folder(count=3)
    before = open_dataset(f"folder:{root}").fingerprint("train")
    root.rename(tmp_path / "elsewhere")
    moved = open_dataset(f"folder:{tmp_path / 'elsewhere'}")
    assert moved.fingerprint("train") == before
    cv2.imwrite(str(moved.items("train")[1].mask), gray(1, 24, 32))
    assert moved.fingerprint("train") != before


def test_the_fingerprint_follows_what_the_ids_mean_but_not_how_they_are_drawn(make_folder) -> None:
    root = make_folder(count=2)

    def fingerprint(labels: str) -> str:
        (root / "labels.yaml").write_text(labels)
        return open_dataset(f"folder:{root}").fingerprint("train")

    plain = fingerprint("classes: [ground, road, car]")
    assert fingerprint("{name: other, classes: [ground, {name: road, color: [1, 2, 3]}, car]}") == plain
    others = [
        "classes: [ground, road, truck]",
        "classes: [road, ground, car]",
        "{classes: [ground, road, car], ignore: [254]}",
        "classes: [ground, road, {name: car, raw: [2, 3]}]",
    ]
    assert len({plain, *map(fingerprint, others)}) == 5


def test_the_data_path_needs_neither_keras_nor_albumentations() -> None:
    blocked = "import sys\nfor n in ('keras','tensorflow','albumentations'): sys.modules[n] = None\n"
    code = blocked + (
        "from edgeseg.training.data import open_dataset\n"
        "import edgeseg.training.data.loader\n"
        "dataset = open_dataset('synthetic:train=1,val=1,size=64x64')\n"
        "print(next(dataset.samples('train')).mask.shape)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "(64, 64)", ended.stderr


def _write_cityscapes(root: Path, split: str, city: str, *, image: bool, mask: bool) -> None:
    stem = f"{city}_000000_000019"
    files = {
        f"leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png": np.zeros((6, 8, 3), np.uint8)
        if image
        else None,
        f"gtFine/{split}/{city}/{stem}_gtFine_labelIds.png": gray(26) if mask else None,
    }
    for name, array in files.items():
        if array is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / name), array)
