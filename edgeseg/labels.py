"""What the ids of a class map mean: names, colours, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import DataError, LabelError

Color = tuple[int, int, int]
Mask = npt.NDArray[np.uint8]

IGNORE_INDEX = 255
# What 16 bits hold, signed or not: masks have no wider ids, and a table of all of them stays small.
RAW_ID_MIN, RAW_ID_MAX = -(2**15), 2**16 - 1
_UNMAPPED = -1


@dataclass(frozen=True)
class LabelClass:
    """One class: its id in the masks, its name, and the RGB colour it is drawn in (0 to 255)."""

    id: int
    name: str
    color: Color


@dataclass(frozen=True)
class LabelSet:
    """The classes of a dataset and how its raw masks become class ids.

    Args:
        name: Short name, for instance ``camvid`` or ``cityscapes19``.
        classes: Classes with the ids 0, 1, … in order.
        ignore_index: Mask value that no loss or metric counts.
        raw_ids: Raw id in the dataset's masks, -32768 to 65535, to class id or ``ignore_index``. Empty: the
            masks hold class ids already. An id that is not listed is an error, never a silent guess.
        raw_colors: RGB colour in the dataset's masks to class id or ``ignore_index``, for colour masks.
        categories: The category of each class, in the order of the classes, where the dataset scores groups
            of classes too, as Cityscapes does; empty: it does not.

    Raises:
        LabelError: The classes, the ignore index, the mapping or the categories are not as said here.
    """

    name: str
    classes: tuple[LabelClass, ...]
    ignore_index: int = IGNORE_INDEX
    raw_ids: Mapping[int, int] = field(default_factory=dict)
    raw_colors: Mapping[Color, int] = field(default_factory=dict)
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_classes(self)
        _check_mapping(self)
        _check_categories(self)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    @property
    def category_names(self) -> tuple[str, ...]:
        """Each category once, in the order of its first class."""
        return tuple(dict.fromkeys(self.categories))

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Of each class, the place of its category in ``category_names``."""
        return tuple(map(self.category_names.index, self.categories))

    def palette(self) -> Mask:
        """The colour of every possible mask value, ``uint8 [256, 3]`` RGB; what is ignored is black."""
        colors = np.zeros((256, 3), np.uint8)
        for c in self.classes:
            colors[c.id] = c.color
        return colors

    def colorize(self, mask: Mask) -> Mask:
        """A class map ``uint8 [H, W]`` as a picture ``uint8 [H, W, 3]`` RGB."""
        return self.palette()[mask]

    def encode_ids(self, raw: npt.NDArray[np.integer[Any]], source: str = "mask") -> Mask:
        """Raw ids ``integer [H, W]`` to class ids ``uint8 [H, W]``.

        Raises:
            LabelError: The mask holds an id that this label set does not map; ``source`` names the file.
        """
        mapping = self.raw_ids or {**{c.id: c.id for c in self.classes}, self.ignore_index: self.ignore_index}
        # −1 and 255 are different raw ids: the offset keeps them apart where uint8 arithmetic would not.
        low, high = min(0, *mapping), max(255, *mapping)
        table = np.full(high - low + 1, _UNMAPPED, np.int16)
        for raw_id, class_id in mapping.items():
            table[raw_id - low] = class_id
        if raw.dtype == np.uint8:
            encoded = table[-low:][raw]
        else:
            shifted = raw.astype(np.int64) - low
            outside = (shifted < 0) | (shifted >= len(table))
            encoded = np.where(outside, _UNMAPPED, table[np.where(outside, 0, shifted)])
        bad = encoded == _UNMAPPED
        if bad.any():
            raise _unmapped(self, source, "ids", sorted({int(i) for i in np.unique(raw[bad])}))
        result: Mask = encoded.astype(np.uint8)
        return result

    def encode_colors(self, rgb: Mask, source: str = "mask") -> Mask:
        """Colours ``uint8 [H, W, 3]`` RGB to class ids ``uint8 [H, W]``.

        Raises:
            LabelError: The mask holds a colour that this label set does not map.
        """
        mapping = self.raw_colors or {c.color: c.id for c in self.classes}
        keys = np.array([_pack(np.array(color)) for color in mapping])
        order = np.argsort(keys)
        keys, ids = keys[order], np.array(list(mapping.values()))[order]
        packed = _pack(rgb)
        position = np.searchsorted(keys, packed).clip(max=len(keys) - 1)
        bad = keys[position] != packed
        if bad.any():
            colors = sorted({tuple(int(v) for v in c) for c in np.unique(rgb[bad], axis=0)})
            raise _unmapped(self, source, "colours", colors)
        encoded: Mask = ids[position].astype(np.uint8)
        return encoded

    def to_dict(self) -> dict[str, Any]:
        """The set as plain JSON values, without what a dataset alone needs: raw mapping and categories."""
        return {
            "name": self.name,
            "ignore_index": self.ignore_index,
            "classes": [{"id": c.id, "name": c.name, "color": list(c.color)} for c in self.classes],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelSet:
        """The inverse of :meth:`to_dict`."""
        classes = tuple(_class_from_dict(c) for c in values["classes"])
        return cls(str(values["name"]), classes, int(values.get("ignore_index", IGNORE_INDEX)))


def require_same_classes(labels: LabelSet, other: LabelSet, subject: str) -> None:
    """Refuse data whose classes are not a model's: its scores would mean nothing.

    Args:
        labels: The model's classes.
        other: Those of the data.
        subject: What ``other`` belongs to, for the message.

    Raises:
        DataError: The names differ, or their order.
    """
    if labels.names != other.names:
        raise DataError(
            subject,
            expected=f"the model's classes: {', '.join(labels.names)}",
            found=", ".join(other.names),
            next_step="Name the dataset whose classes the model was trained on.",
        )


def _class_from_dict(values: Mapping[str, Any]) -> LabelClass:
    red, green, blue = (int(v) for v in values["color"])
    return LabelClass(int(values["id"]), str(values["name"]), (red, green, blue))


def _check_classes(labels: LabelSet) -> None:
    ids = [c.id for c in labels.classes]
    if not ids or ids != list(range(len(ids))):
        raise LabelError(
            f"label set {labels.name!r}",
            expected="at least one class, with ids 0, 1, 2, … in order",
            found=f"ids {ids}",
            next_step="Number the classes from 0 without gaps, and map the dataset's own ids to them.",
        )
    if not len(ids) <= labels.ignore_index <= 255:
        raise LabelError(
            f"label set {labels.name!r}",
            expected=f"an ignore index from {len(ids)} to 255",
            found=str(labels.ignore_index),
            next_step="Use 255 unless there is a reason not to.",
        )


def _check_mapping(labels: LabelSet) -> None:
    outside = sorted(raw for raw in labels.raw_ids if not RAW_ID_MIN <= raw <= RAW_ID_MAX)
    if outside:
        raise LabelError(
            f"label set {labels.name!r}",
            expected=f"raw ids from {RAW_ID_MIN} to {RAW_ID_MAX}",
            found=f"{len(outside)} outside, such as {outside[0]}",
            next_step="Correct the mapping, or write the masks with 8 or 16 bits.",
        )
    valid = {*range(len(labels)), labels.ignore_index}
    targets = {*labels.raw_ids.values(), *labels.raw_colors.values()} - valid
    if targets:
        raise LabelError(
            f"label set {labels.name!r}",
            expected="a mapping to its class ids or the ignore index",
            found=f"a mapping to {sorted(targets)}",
            next_step="Add the missing classes or map these to the ignore index.",
        )


def _check_categories(labels: LabelSet) -> None:
    if len(labels.categories) not in (0, len(labels)):
        raise LabelError(
            f"label set {labels.name!r}",
            expected=f"a category for each of its {len(labels)} classes, or none at all",
            found=f"{len(labels.categories)} categories",
            next_step="Name the category of every class, in the order of the classes.",
        )


def _pack(rgb: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    wide = rgb.astype(np.int64)
    packed: npt.NDArray[np.int64] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _unmapped(labels: LabelSet, source: str, kind: str, values: Sequence[object]) -> LabelError:
    shown = ", ".join(str(v) for v in values[:8]) + (", …" if len(values) > 8 else "")
    return LabelError(
        source,
        expected=f"only {kind} that the label set {labels.name!r} maps",
        found=f"{kind} {shown}",
        next_step="Run 'edgeseg data check' on the dataset, then correct the mask or the mapping.",
    )
