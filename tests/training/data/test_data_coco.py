"""``coco:``: a file of annotations made by hand, against masks made by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.errors import DataError, MissingExtraError, UsageError
from edgeseg.training.data import check_dataset, open_dataset, prepare
from edgeseg.training.recipe import make_recipe

pytest.importorskip("pycocotools")

HEIGHT, WIDTH = 10, 12
CATEGORIES = [
    {"id": 10, "name": "traffic light"},
    {"id": 1, "name": "person"},
    {"id": 3, "name": "car"},
]
CROWD = {"size": [HEIGHT, WIDTH], "counts": [95, 5, 5, 5, 5, 5]}  # columns 9 to 11, rows 5 to 9
SHAPES = [
    # Columns 4 to 6, rows 0 to 5, and listed before the car that it stands in front of.
    {"category_id": 1, "segmentation": [[4, 0, 7, 0, 7, 6, 4, 6]], "iscrowd": 0},
    # The car: columns 0 to 9, rows 2 to 7, in two polygons.
    {"category_id": 3, "segmentation": [[0, 2, 5, 2, 5, 8, 0, 8], [5, 2, 10, 2, 10, 8, 5, 8]]},
    # Column 11, rows 0 to 2.
    {"category_id": 10, "segmentation": {"size": [HEIGHT, WIDTH], "counts": [110, 3, 7]}},
    # Columns 0 and 1, rows 8 and 9: run lengths 8, 2, 8, 2, 100 in COCO's text.
    {"category_id": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": "8280l2"}},
    {"category_id": 1, "segmentation": CROWD, "iscrowd": 1},
]
# . background, P person, C car, L traffic light, # ignored. The crowd lies under the car, whatever its size.
DRAWN = """
....PPP....L
....PPP....L
CCCCPPPCCC.L
CCCCPPPCCC..
CCCCPPPCCC..
CCCCPPPCCC##
CCCCCCCCCC##
CCCCCCCCCC##
PP.......###
PP.......###
"""

Maker = Callable[..., Path]


def mask_of(drawn: str, classes: str) -> np.ndarray:
    ids = {name: number for number, name in enumerate(classes)} | {"#": 255}
    return np.array([[ids[pixel] for pixel in row] for row in drawn.split()], np.uint8)


@pytest.fixture
def make_coco(tmp_path: Path) -> Maker:
    """The official layout with two pictures in train, the second without a shape, and one in val."""

    def make(shapes: list[dict[str, Any]] = SHAPES, categories: list[Any] = CATEGORIES) -> Path:
        root = tmp_path / "coco"
        for split, count in (("train2017", 2), ("val2017", 1)):
            images = [
                {"id": 70 + n, "file_name": f"{n:012d}.jpg", "height": HEIGHT, "width": WIDTH}
                for n in range(count)
            ]
            annotations = [{"id": n, "image_id": 70, **shape} for n, shape in enumerate(shapes)]
            values = {"images": images, "annotations": annotations, "categories": categories}
            write_annotations(root, split, values)
            (root / split).mkdir()
            for n, image in enumerate(images):
                picture = np.full((HEIGHT, WIDTH, 3), 40 * n + (90 if split == "val2017" else 10), np.uint8)
                cv2.imwrite(str(root / split / image["file_name"]), picture)
        return root

    return make


def write_annotations(root: Path, split: str, values: object) -> None:
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


def test_masks_are_those_made_by_hand(make_coco: Maker) -> None:
    dataset = open_dataset(f"coco:{make_coco()}")
    assert dataset.labels.names == ("background", "person", "car", "traffic light")
    first, second = dataset.samples("train")
    np.testing.assert_array_equal(first.mask, mask_of(DRAWN, ".PCL"))
    assert not second.mask.any()
    assert [sample.name for sample in dataset.samples("val")] == ["000000000000"]


def test_a_subset_is_in_the_order_asked_for_and_the_rest_is_background(make_coco: Maker) -> None:
    dataset = open_dataset(f"coco:{make_coco()}?classes=traffic light,car")
    assert dataset.labels.names == ("background", "traffic light", "car")
    # No person hides the car any more, and a crowd of persons is background too.
    drawn = DRAWN.replace("PP.", "...").replace("#", ".").replace("CCPPPC", "CCCCCC").replace("P", ".")
    np.testing.assert_array_equal(next(dataset.samples("train")).mask, mask_of(drawn, ".LC"))


def test_of_equal_shapes_the_later_lies_on_top(make_coco: Maker) -> None:
    square = [[0, 0, 4, 0, 4, 4, 0, 4]]
    shapes = [{"category_id": number, "segmentation": square} for number in (3, 1)]
    mask = next(open_dataset(f"coco:{make_coco(shapes)}").samples("train")).mask
    assert (mask[:4, :4] == 1).all()


def test_what_is_drawn_or_taken_decides_the_fingerprint(make_coco: Maker) -> None:
    root = make_coco()
    whole = open_dataset(f"coco:{root}").fingerprint("train")
    assert open_dataset(f"coco:{root}?classes=car").fingerprint("train") != whole
    file = root / "annotations" / "instances_train2017.json"
    file.write_text(file.read_text().replace('"iscrowd": 1', '"iscrowd": 0'))
    assert open_dataset(f"coco:{root}").fingerprint("train") != whole


def test_the_cache_is_filled_by_other_processes(make_coco: Maker, tmp_path: Path) -> None:
    dataset = open_dataset(f"coco:{make_coco()}")
    cached = prepare(dataset, "train", HEIGHT, WIDTH, cache_dir=tmp_path / "cache", workers=2)
    np.testing.assert_array_equal(cached.masks[0], mask_of(DRAWN, ".PCL"))
    assert cached.ignored == DRAWN.count("#")


def test_check_reports_what_is_there(make_coco: Maker) -> None:
    report = check_dataset(open_dataset(f"coco:{make_coco()}"))
    assert report.ok
    assert report.splits["train"].histogram.tolist()[1:] == [DRAWN.count(name) for name in "PCL"]


@pytest.mark.parametrize(
    ("segmentation", "found"),
    [
        ([[1, 1, 5, 5]], "a polygon"),
        ([[1, 1, 5, 5, float("nan"), 3]], "a polygon"),
        ([], "no polygon"),
        ({"size": [4, 4], "counts": [16]}, "run lengths for"),
        ({"size": [HEIGHT, WIDTH], "counts": [10, 5]}, "run lengths of 15 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": "PP`0"}, "run lengths"),
        ({"size": [HEIGHT, WIDTH], "counts": [-1, 121]}, "counts that are no run lengths"),
        ("nothing", "run lengths for nothing"),
    ],
)
def test_a_malformed_shape_is_named_with_its_annotation(
    make_coco: Maker, segmentation: object, found: str
) -> None:
    dataset = open_dataset(f"coco:{make_coco([{'category_id': 1, 'segmentation': segmentation}])}")
    with pytest.raises(DataError, match=f"annotation 0: .*found {found}"):
        list(dataset.samples("train"))
    assert next(f.code for f in check_dataset(dataset).findings if f.severity == "error") == "bad-annotation"


def test_an_unknown_class_is_answered_with_near_ones(make_coco: Maker) -> None:
    with pytest.raises(UsageError, match=r"'trafic light'.*such as traffic light, found"):
        open_dataset(f"coco:{make_coco()}?classes=car,trafic light")


@pytest.mark.parametrize("query", ["classes=", "classes=car,car", "klasses=car"])
def test_a_malformed_query_is_refused(make_coco: Maker, query: str) -> None:
    with pytest.raises(UsageError, match=r"coco:PATH\?classes=NAME"):
        open_dataset(f"coco:{make_coco()}?{query}")


def test_missing_images_stop_their_split_alone(make_coco: Maker) -> None:
    root = make_coco()
    (root / "train2017" / "000000000001.jpg").unlink()
    dataset = open_dataset(f"coco:{root}")
    assert len(dataset.items("val")) == 1
    with pytest.raises(DataError, match=r"1 of 2 images of instances_train2017\.json are missing"):
        dataset.items("train")
    (root / "val2017").rename(root / "elsewhere")
    findings = check_dataset(open_dataset(f"coco:{root}")).findings
    assert any("its images are not: no folder" in finding.message for finding in findings)


def test_images_may_lie_in_a_folder_of_their_own(make_coco: Maker) -> None:
    root = make_coco()
    (root / "images").mkdir()
    (root / "train2017").rename(root / "images" / "train2017")
    assert len(open_dataset(f"coco:{root}").items("train")) == 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda values: {"images": []}, "no list of objects 'annotations'"),
        (lambda values: {**values, "categories": []}, "0 categories"),
        (lambda values: {**values, "categories": CATEGORIES[:2] * 2}, "same id or name"),
        (lambda values: {**values, "annotations": [{"image_id": 9, "category_id": 1}]}, "no image or categ"),
        (lambda values: {**values, "annotations": [{"image_id": 70, "category_id": 1}]}, "without a segm"),
        (lambda values: {**values, "images": [{"id": 70}]}, "an image without"),
        (lambda values: {**values, "images": [{**values["images"][0], "id": [1]}]}, "an image without"),
        (lambda values: {**values, "images": values["images"] * 2}, "two images with the id"),
        (
            lambda values: {**values, "annotations": [{"image_id": [70], "category_id": 1}]},
            "no image or categ",
        ),
        (
            lambda values: {**values, "annotations": [{"image_id": 70, "category_id": [1]}]},
            "no image or categ",
        ),
    ],
)
def test_wrong_json_is_named_with_what_is_wrong(make_coco: Maker, change: Any, found: str) -> None:
    root = make_coco()
    values = json.loads((root / "annotations" / "instances_val2017.json").read_text())
    for split in ("train2017", "val2017"):
        write_annotations(root, split, change(values))
    with pytest.raises(DataError, match=found):
        open_dataset(f"coco:{root}")


def test_what_is_no_json_or_no_coco_at_all_is_refused(make_coco: Maker, tmp_path: Path) -> None:
    root = make_coco()
    file = root / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text()[:50])
    with pytest.raises(DataError, match="cannot be read as JSON"):
        open_dataset(f"coco:{root}")
    file.rename(root / "annotations" / "instances_val2014.json")
    file.write_text("{}")
    with pytest.raises(DataError, match="one file of annotations for split 'val'"):
        open_dataset(f"coco:{root}")
    with pytest.raises(DataError, match=r"annotations/instances_SPLITYEAR\.json beside"):
        open_dataset(f"coco:{tmp_path}")


def test_without_pycocotools_its_extra_is_named(make_coco: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_coco()
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeseg\[coco\]'"):
        open_dataset(f"coco:{root}")


@pytest.mark.heavy
def test_preview_and_training_take_it(make_coco: Maker, tmp_path: Path) -> None:
    from edgeseg.training.fit import train
    from edgeseg.training.preview import preview_rows

    recipe = make_recipe(
        {
            "data": f"coco:{make_coco()}?classes=person,car",
            "size": [16, 16],
            "epochs": 1,
            "batch": 2,
            "model_options": {"channels": 4},
            "precision": "float32",
            "workers": 0,
        }
    )
    rows = list(preview_rows(open_dataset(recipe.data), recipe, count=2, variants=1))
    assert [len(np.unique(row.mask)) for row in rows] == [4, 1]
    result = train(recipe, tmp_path / "run")
    assert 0 <= result.summary["miou"] <= 1
    assert result.folder.best.is_file()
