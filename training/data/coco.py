"""COCO: instances as class maps, all 80 classes or a few, and the background as class 0.

Reference: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. The folder is the official one:
``annotations/instances_SPLITYEAR.json`` beside ``SPLITYEAR/`` (or ``images/SPLITYEAR/``) with the images; the
year is left out of a split's name. Any other dataset in this form can be read too: its classes are the file's
categories in the order of their ids, after the background.

``?classes=person,car`` behind the path takes these classes alone, in this order; what is of another class is
background then.

How a mask is drawn: each instance by COCO's own rasteriser (pycocotools), a pixel of which belongs to a
polygon or not at all; the largest first, by the pixels it covers, so that smaller ones lie on top, and of
equals the later in the file; before all of them the crowds, which are ignored. So an instance that was marked
within a crowd counts. What no instance covers is background.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from edgeseg.errors import DataError, MissingExtraError, UsageError
from edgeseg.labels import IGNORE_INDEX, LabelClass, LabelSet, Mask
from edgeseg.training.data.coco_shapes import Shape, area, decoded, run_lengths
from edgeseg.training.data.dataset import Dataset, Finding, Item
from edgeseg.training.data.labels_file import chosen_color
from edgeseg.training.data.pairing import no_samples, require_folder

_FORM = "coco:PATH or coco:PATH?classes=NAME,NAME,…"
_FILE = re.compile(r"instances_(.+?)(\d{4})?\.json")
_LAYOUT = "annotations/instances_SPLITYEAR.json beside SPLITYEAR/ or images/SPLITYEAR/ with its images"
_MOST_CLASSES = IGNORE_INDEX - 1


@dataclass(frozen=True)
class CocoImage(Item):
    """An image with the shapes drawn on it; ``height`` and ``width`` are those that the file says."""

    height: int = 0
    width: int = 0
    # Lists cannot be hashed, and the image's file tells items apart already.
    shapes: tuple[Shape, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class CocoDataset(Dataset):
    """Images whose masks are drawn from annotations when they are read."""

    @override
    def read_mask(self, item: Item) -> Mask:
        """The class map ``uint8 [H, W]``, drawn as the module says.

        Raises:
            DataError: A shape is malformed.
        """
        image = _coco_image(item)
        mask: Mask = np.zeros((image.height, image.width), np.uint8)
        drawn = [(shape, run_lengths(shape, image.height, image.width)) for shape in image.shapes]
        # A stable order: of equals the later one stays on top.
        for shape, runs in sorted(drawn, key=lambda pair: (not pair[0].crowd, -area(pair[1]))):
            mask[decoded(runs)] = IGNORE_INDEX if shape.crowd else shape.class_id
        return mask

    @override
    def identity(self, item: Item) -> Iterator[bytes]:
        """The image's file, and all that its mask is drawn from."""
        image = _coco_image(item)
        yield from super().identity(item)
        shapes = [[shape.class_id, shape.crowd, shape.segmentation] for shape in image.shapes]
        yield json.dumps([image.height, image.width, shapes]).encode()


def open_coco(text: str) -> CocoDataset:
    """The splits whose annotations are there, in the form that the module describes.

    Images that a file lists and that are not there do not stop the opening; they stop their split.

    Raises:
        MissingExtraError: pycocotools is not installed.
        UsageError: The text behind ``?`` is in another form, or names a class that does not exist.
        DataError: The folder or its annotations are missing or malformed.
    """
    _require_pycocotools()
    path, _, query = text.partition("?")
    root = require_folder(path, "coco:PATH")
    files = _annotation_files(root)
    problems: list[Finding] = []
    read: dict[str, tuple[Path, Path, dict[str, Any]]] = {}
    for split, (file, folders) in files.items():
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            problems.append(_no_folder(split, file, folders[0]))
        else:
            read[split] = (file, folder, _read(file))
    if not read:
        raise no_samples(root, _LAYOUT)
    labels, class_ids = _labels([(file, values) for file, _, values in read.values()], _wanted(query))
    splits: dict[str, list[Item]] = {}
    for split, (file, folder, values) in read.items():
        splits[split], found = _items(file, folder, values, class_ids, split)
        problems += found
    return CocoDataset(f"coco:{text}", "coco", labels, splits, problems=tuple(problems))


def _annotation_files(root: Path) -> dict[str, tuple[Path, tuple[Path, Path]]]:
    """Split name to its annotations and the two places where its images may be."""
    files: dict[str, tuple[Path, tuple[Path, Path]]] = {}
    for file in sorted((root / "annotations").glob("instances_*.json")):
        match = _FILE.fullmatch(file.name)
        if match is None:
            continue
        split, folder = match[1], match[1] + (match[2] or "")
        if split in files:
            raise DataError(
                file,
                expected=f"one file of annotations for split {split!r}",
                found=f"also {files[split][0].name}",
                next_step="Move one of the two elsewhere.",
            )
        files[split] = (file, (root / folder, root / "images" / folder))
    if not files:
        raise no_samples(root, _LAYOUT)
    return files


def _read(file: Path) -> dict[str, Any]:
    """The content of a file of annotations, whose three lists are there and hold objects."""
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise _malformed(file, f"a file that cannot be read as JSON ({error})") from error
    for key in ("images", "annotations", "categories"):
        listed = values.get(key) if isinstance(values, dict) else None
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise _malformed(file, f"no list of objects {key!r}")
    return values


def _wanted(query: str) -> list[str] | None:
    """The names behind ``?classes=``; ``None`` for all."""
    if not query:
        return None
    key, _, names = query.partition("=")
    listed = [name.strip() for name in names.split(",") if name.strip()]
    if key != "classes" or not listed or len({*listed}) < len(listed):
        raise UsageError(
            "--data",
            expected=f"{_FORM}, each class once",
            found=repr(f"?{query}"),
            next_step="Correct it.",
        )
    return listed


def _labels(
    files: Sequence[tuple[Path, dict[str, Any]]], wanted: list[str] | None
) -> tuple[LabelSet, Mapping[int, int]]:
    """The classes, and the class id of each category that is one of them."""
    first, values = files[0]
    categories = _categories(first, values)
    for file, others in files[1:]:
        if _categories(file, others) != categories:
            raise _malformed(file, f"other categories than {first.name} has")
    by_name = {name: number for number, name in categories.items()}
    for name in wanted or ():
        if name not in by_name:
            raise _unknown_class(name, list(by_name))
    names = wanted or list(by_name)
    classes = [
        LabelClass(0, "background", (0, 0, 0)),
        *(LabelClass(i, name, chosen_color(i)) for i, name in enumerate(names, 1)),
    ]
    return LabelSet("coco", tuple(classes)), {by_name[name]: i for i, name in enumerate(names, 1)}


def _categories(file: Path, values: dict[str, Any]) -> dict[int, str]:
    """Category id to name, in the order of the ids."""
    listed = [(entry.get("id"), entry.get("name")) for entry in values["categories"]]
    sound = all(isinstance(number, int) and isinstance(name, str) for number, name in listed)
    if not sound or not 1 <= len(listed) <= _MOST_CLASSES:
        raise _malformed(file, f"{len(listed)} categories, or one without a number 'id' and a 'name'")
    if len({number for number, _ in listed}) < len(listed) or len({name for _, name in listed}) < len(listed):
        raise _malformed(file, "two categories with the same id or name")
    return dict(sorted(listed))


def _items(
    file: Path, folder: Path, values: dict[str, Any], class_ids: Mapping[int, int], split: str
) -> tuple[list[Item], list[Finding]]:
    """The images that are there, in order of name; a finding for those that are not."""
    shapes = _shapes(file, values, class_ids)
    there = {path.name for path in folder.iterdir()}
    items: list[Item] = []
    missing: list[str] = []
    for entry in sorted(values["images"], key=lambda entry: str(entry["file_name"])):
        name = str(entry["file_name"])
        if name in there:
            mine = tuple(shapes[entry["id"]])
            path = folder / name
            items.append(CocoImage(path.stem, path, None, entry["height"], entry["width"], mine))
        else:
            missing.append(str(folder / name))
    if not missing:
        return items, []
    message = (
        f"{len(missing)} of {len(values['images'])} images of {file.name} are missing, such as {missing[0]}"
    )
    return items, [Finding("error", "missing-file", message, split, len(missing), tuple(missing[:5]))]


def _shapes(file: Path, values: dict[str, Any], class_ids: Mapping[int, int]) -> dict[int, list[Shape]]:
    """Image id to its shapes of the classes that count, in the file's order."""
    shapes: dict[int, list[Shape]] = {}
    for entry in values["images"]:
        sizes = (entry.get("height"), entry.get("width"))
        named = _is_whole(entry.get("id")) and isinstance(entry.get("file_name"), str)
        if not named or not all(_is_whole(size) and size >= 1 for size in sizes):
            raise _malformed(file, f"an image without id, file_name, height or width: {_shown(entry)}")
        if entry["id"] in shapes:
            raise _malformed(file, f"two images with the id {entry['id']}")
        shapes[entry["id"]] = []
    known = {entry["id"] for entry in values["categories"]}
    for entry in values["annotations"]:
        ids = (entry.get("image_id"), entry.get("category_id"))
        if not all(map(_is_whole, ids)) or ids[0] not in shapes or ids[1] not in known:
            raise _malformed(file, f"an annotation of no image or category of the file: {_shown(entry)}")
        if "segmentation" not in entry:
            raise _malformed(file, f"an annotation without a segmentation: {_shown(entry)}")
        class_id = class_ids.get(entry["category_id"])
        if class_id is not None:
            where = f"{file}, annotation {entry.get('id')}"
            crowd = bool(entry.get("iscrowd", 0))
            shapes[entry["image_id"]].append(Shape(class_id, crowd, entry["segmentation"], where))
    return shapes


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _coco_image(item: Item) -> CocoImage:
    if not isinstance(item, CocoImage):
        raise TypeError(f"{item.name} is no image of COCO")
    return item


def _require_pycocotools() -> None:
    try:
        import pycocotools.mask  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("--data coco:PATH", "pycocotools", "coco") from error


def _unknown_class(name: str, known: list[str]) -> UsageError:
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    return UsageError(
        f"class {name!r} of --data coco",
        expected=f"one such as {', '.join(near)}" if near else f"one of {', '.join(known)}",
        found=f"no such class among the file's {len(known)}",
        next_step="Correct --data; 'edgeseg data stats --data coco:PATH' lists all of them.",
    )


def _no_folder(split: str, file: Path, folder: Path) -> Finding:
    message = f"{file.name} is there, and its images are not: no folder {folder}"
    return Finding("error", "missing-file", message, split, 1, (str(folder),))


def _malformed(file: Path, found: str) -> DataError:
    return DataError(
        file,
        expected="COCO's annotations of instances: images, annotations and categories",
        found=found,
        next_step="Copy or export the file again.",
    )


def _shown(entry: dict[str, Any]) -> str:
    text = json.dumps({key: value for key, value in entry.items() if key != "segmentation"})
    return text if len(text) <= 120 else f"{text[:120]}…"
