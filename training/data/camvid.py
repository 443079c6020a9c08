"""CamVid in the SegNet tutorial's form: 480×360, void ignored, in 11 classes or as the road alone.

Reference: Brostow et al., "Semantic object classes in video", 2009; classes and split are those of
Badrinarayanan et al., "SegNet", 2017. The folder holds split files (``train.txt``, ``val.txt``, …), with a
line ``image annotation`` for each pair.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from edgeseg.errors import DataError
from edgeseg.labels import IGNORE_INDEX, LabelClass, LabelSet
from edgeseg.training.data.dataset import Dataset, Item
from edgeseg.training.data.pairing import no_samples, require_folder

_VOID = 11

CAMVID = LabelSet(
    "camvid",
    (
        LabelClass(0, "sky", (128, 128, 128)),
        LabelClass(1, "building", (128, 0, 0)),
        LabelClass(2, "pole", (192, 192, 128)),
        LabelClass(3, "road", (128, 64, 128)),
        LabelClass(4, "pavement", (60, 40, 222)),
        LabelClass(5, "tree", (128, 128, 0)),
        LabelClass(6, "signsymbol", (192, 128, 128)),
        LabelClass(7, "fence", (64, 64, 128)),
        LabelClass(8, "car", (64, 0, 128)),
        LabelClass(9, "pedestrian", (64, 64, 0)),
        LabelClass(10, "bicyclist", (0, 128, 192)),
    ),
    raw_ids={**{i: i for i in range(_VOID)}, _VOID: IGNORE_INDEX},
)

_ROAD = 3
CAMVID_ROAD = LabelSet(
    "camvid_road",
    (LabelClass(0, "other", (60, 60, 60)), LabelClass(1, "road", (128, 64, 128))),
    raw_ids={**{i: int(i == _ROAD) for i in range(_VOID)}, _VOID: IGNORE_INDEX},
)

_SPLITS = ("train", "val", "test", "train_fit", "train_dev")
# Two blocks of train, for tuning without touching val.
_PARTS = {"train_fit": "train", "train_dev": "train"}


def open_camvid(text: str) -> Dataset:
    """The 11 classes."""
    return _open(text, CAMVID)


def open_camvid_road(text: str) -> Dataset:
    """The road, and all else as one class: binary masks."""
    return _open(text, CAMVID_ROAD)


def _open(text: str, labels: LabelSet) -> Dataset:
    """The splits whose files are there, of ``train``, ``val``, ``test``, ``train_fit`` and ``train_dev``.

    Raises:
        DataError: The folder is not there, has no split file, or one of them is malformed.
    """
    root = require_folder(text, f"{labels.name}:PATH")
    files = {split: root / f"{split}.txt" for split in _SPLITS}
    splits = {split: _read_split(file, root) for split, file in files.items() if file.is_file()}
    if not any(splits.values()):
        raise no_samples(root, "train.txt and val.txt with lines 'image annotation'")
    parts = {part: whole for part, whole in _PARTS.items() if part in splits}
    return Dataset(f"{labels.name}:{text}", labels.name, labels, splits, parts)


def _read_split(file: Path, root: Path) -> list[Item]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            file,
            expected="a text file in UTF-8 with lines 'image annotation'",
            found=str(error),
            next_step="Copy the file again, or save it as UTF-8.",
        ) from error
    return [_item(line, f"{file}, line {n}", root) for n, line in enumerate(lines, 1) if line.strip()]


def _item(line: str, where: str, root: Path) -> Item:
    paths = line.split()
    if len(paths) != 2:
        raise DataError(
            where,
            expected="two paths, 'image annotation'",
            found=repr(line),
            next_step="Correct the line; paths are taken from the dataset's folder and hold no spaces.",
        )
    image, mask = (_relative(path) for path in paths)
    return Item(image.stem, root / image, root / mask)


def _relative(path: str) -> PurePosixPath:
    """The tutorial's own files say ``/SegNet/CamVid/train/x.png`` for ``train/x.png``."""
    parsed = PurePosixPath(path)
    return PurePosixPath(*parsed.parts[-2:]) if parsed.is_absolute() else parsed
