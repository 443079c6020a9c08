"""Cityscapes: the standard tree and its three label sets.

Reference: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, and the
table ``labels.py`` of its official scripts. The label sets, never mixed:

- ``cityscapes19``: the official train ids; every other raw id is ignored. Its scores per category are the
  official ones: those of the nineteen classes, taken together.
- ``cityscapes7``: the official categories, void ignored. A raw id is in its category also where the official
  score skips it: parking, rail track, guard rail, bridge, tunnel, pole group, caravan, trailer, plate.
- ``cityscapes8``: the categories with void as class 0, so that nothing is ignored.

Raw id −1 is the licence plate. The official scripts do not draw it into ``labelIds`` files, where its pixels
keep the vehicle's id; a tool that does draw it leaves 255 there, because −1 wraps in a ``uint8`` file. So −1
and 255 both stand for the licence plate, which is of the category vehicle and of no train id. Read by chance
as "ignore", 255 would silently take these pixels out of the vehicles.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edgeseg.labels import IGNORE_INDEX, Color, LabelClass, LabelSet
from edgeseg.training.data.dataset import Dataset, Finding, Item
from edgeseg.training.data.pairing import no_samples, pair, require_folder

IMAGE_ENDING = "_leftImg8bit.png"
MASK_ENDING = "_gtFine_labelIds.png"
_SPLITS = ("train", "val", "test")
_WRAPPED_LICENCE_PLATE = 255


class RawLabel(NamedTuple):
    """A row of the official table; ``train_id`` is ``None`` where training ignores the label."""

    id: int
    name: str
    train_id: int | None
    category: str
    color: Color


RAW_LABELS = (
    RawLabel(-1, "license plate", None, "vehicle", (0, 0, 142)),
    RawLabel(0, "unlabeled", None, "void", (0, 0, 0)),
    RawLabel(1, "ego vehicle", None, "void", (0, 0, 0)),
    RawLabel(2, "rectification border", None, "void", (0, 0, 0)),
    RawLabel(3, "out of roi", None, "void", (0, 0, 0)),
    RawLabel(4, "static", None, "void", (0, 0, 0)),
    RawLabel(5, "dynamic", None, "void", (111, 74, 0)),
    RawLabel(6, "ground", None, "void", (81, 0, 81)),
    RawLabel(7, "road", 0, "flat", (128, 64, 128)),
    RawLabel(8, "sidewalk", 1, "flat", (244, 35, 232)),
    RawLabel(9, "parking", None, "flat", (250, 170, 160)),
    RawLabel(10, "rail track", None, "flat", (230, 150, 140)),
    RawLabel(11, "building", 2, "construction", (70, 70, 70)),
    RawLabel(12, "wall", 3, "construction", (102, 102, 156)),
    RawLabel(13, "fence", 4, "construction", (190, 153, 153)),
    RawLabel(14, "guard rail", None, "construction", (180, 165, 180)),
    RawLabel(15, "bridge", None, "construction", (150, 100, 100)),
    RawLabel(16, "tunnel", None, "construction", (150, 120, 90)),
    RawLabel(17, "pole", 5, "object", (153, 153, 153)),
    RawLabel(18, "polegroup", None, "object", (153, 153, 153)),
    RawLabel(19, "traffic light", 6, "object", (250, 170, 30)),
    RawLabel(20, "traffic sign", 7, "object", (220, 220, 0)),
    RawLabel(21, "vegetation", 8, "nature", (107, 142, 35)),
    RawLabel(22, "terrain", 9, "nature", (152, 251, 152)),
    RawLabel(23, "sky", 10, "sky", (70, 130, 180)),
    RawLabel(24, "person", 11, "human", (220, 20, 60)),
    RawLabel(25, "rider", 12, "human", (255, 0, 0)),
    RawLabel(26, "car", 13, "vehicle", (0, 0, 142)),
    RawLabel(27, "truck", 14, "vehicle", (0, 0, 70)),
    RawLabel(28, "bus", 15, "vehicle", (0, 60, 100)),
    RawLabel(29, "caravan", None, "vehicle", (0, 0, 90)),
    RawLabel(30, "trailer", None, "vehicle", (0, 0, 110)),
    RawLabel(31, "train", 16, "vehicle", (0, 80, 100)),
    RawLabel(32, "motorcycle", 17, "vehicle", (0, 0, 230)),
    RawLabel(33, "bicycle", 18, "vehicle", (119, 11, 32)),
)

CATEGORIES = (
    LabelClass(0, "void", (0, 0, 0)),
    LabelClass(1, "flat", (128, 64, 128)),
    LabelClass(2, "construction", (70, 70, 70)),
    LabelClass(3, "object", (153, 153, 153)),
    LabelClass(4, "nature", (107, 142, 35)),
    LabelClass(5, "sky", (70, 130, 180)),
    LabelClass(6, "human", (220, 20, 60)),
    LabelClass(7, "vehicle", (0, 0, 142)),
)


def open_cityscapes8(text: str) -> Dataset:
    """The standard tree with the eight categories, void as class 0."""
    return _open(text, CITYSCAPES8)


def open_cityscapes7(text: str) -> Dataset:
    """The standard tree with the seven official categories, void ignored."""
    return _open(text, CITYSCAPES7)


def open_cityscapes19(text: str) -> Dataset:
    """The standard tree with the nineteen official train ids."""
    return _open(text, CITYSCAPES19)


def _open(text: str, labels: LabelSet) -> Dataset:
    """Read ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and ``gtFine/SPLIT/CITY/*_gtFine_labelIds.png``.

    Raises:
        DataError: The folder is not there, or holds no such pair.
    """
    root = require_folder(text, f"{labels.name}:PATH")
    splits: dict[str, list[Item]] = {}
    problems: list[Finding] = []
    for split in _SPLITS:
        images = _by_stem(root / "leftImg8bit" / split, IMAGE_ENDING)
        masks = _by_stem(root / "gtFine" / split, MASK_ENDING)
        if images and masks:
            splits[split], found = pair(images, masks, split)
            problems += found
    if not any(splits.values()):
        raise no_samples(
            root, f"leftImg8bit/SPLIT/CITY/*{IMAGE_ENDING} with gtFine/SPLIT/CITY/*{MASK_ENDING}"
        )
    return Dataset(f"{labels.name}:{text}", labels.name, labels, splits, problems=tuple(problems))


def _by_stem(folder: Path, ending: str) -> dict[str, Path]:
    """``CITY/CITY_000000_000019`` to its file."""
    files = sorted(folder.glob(f"*/*{ending}"))
    return {f"{file.parent.name}/{file.name.removesuffix(ending)}": file for file in files}


def _label_set(
    name: str, classes: tuple[LabelClass, ...], to_class: dict[int, int], categories: tuple[str, ...] = ()
) -> LabelSet:
    raw_ids = {**to_class, _WRAPPED_LICENCE_PLATE: to_class[-1]}
    return LabelSet(name, classes, raw_ids=raw_ids, categories=categories)


def _categories_without_void() -> LabelSet:
    classes = tuple(LabelClass(c.id - 1, c.name, c.color) for c in CATEGORIES[1:])
    ids = {c.name: c.id for c in classes} | {"void": IGNORE_INDEX}
    return _label_set("cityscapes7", classes, {raw.id: ids[raw.category] for raw in RAW_LABELS})


def _categories_with_void() -> LabelSet:
    ids = {c.name: c.id for c in CATEGORIES}
    return _label_set("cityscapes8", CATEGORIES, {raw.id: ids[raw.category] for raw in RAW_LABELS})


def _train_ids() -> LabelSet:
    trained = sorted((raw.train_id, raw) for raw in RAW_LABELS if raw.train_id is not None)
    classes = tuple(LabelClass(train_id, raw.name, raw.color) for train_id, raw in trained)
    to_class = {raw.id: IGNORE_INDEX if raw.train_id is None else raw.train_id for raw in RAW_LABELS}
    return _label_set("cityscapes19", classes, to_class, tuple(raw.category for _, raw in trained))


CITYSCAPES8 = _categories_with_void()
CITYSCAPES7 = _categories_without_void()
CITYSCAPES19 = _train_ids()
