"""``labels.yaml``: what the masks of a folder mean.

The whole of it, as an example::

    name: yard                # optional; default: the folder's name
    masks: ids                # optional: ids (default), binary or colors
    classes:                  # class ids are counted from 0 in this order
      - road                  # a name alone: raw id = class id, a colour is chosen
      - name: car
        color: [0, 0, 142]    # RGB, 0 to 255
        raw: [26, 27, 28]     # raw ids in the masks, -32768 to 65535; default: the class id
    ignore: [255]             # raw ids that no loss or metric counts; default [255],
                              # or none where a class has 255

With ``masks: binary`` there are two classes, stored as 0 and 255. With ``masks: colors`` the masks are RGB
pictures, every class needs its colour, ``raw`` is not used, and ``ignore`` is a list of colours (default:
none). A raw id or colour that is not listed is an error wherever it is met.
"""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edgeseg.errors import DataError
from edgeseg.labels import IGNORE_INDEX, RAW_ID_MAX, RAW_ID_MIN, Color, LabelClass, LabelSet

LABELS_FILE = "labels.yaml"


def read_labels(path: Path, default_name: str) -> LabelSet:
    """The label set of a ``labels.yaml``; ``default_name`` is used where it names itself nothing.

    Raises:
        DataError: The file is missing or malformed.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _bad_labels(path, str(error)) from error
    return parse_labels(values, str(path), default_name)


def parse_labels(values: Any, subject: str, default_name: str) -> LabelSet:
    """The content of a labels file as a label set; ``subject`` names it in errors.

    Raises:
        DataError: It is malformed.
    """
    try:
        return LabelsFile.model_validate(values).label_set(default_name)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _bad_labels(subject, f"{where}: {first['msg']}" if where else first["msg"]) from error


def chosen_color(index: int) -> Color:
    """A colour for a class that names none: the golden angle keeps neighbours far apart in hue."""
    r, g, b = colorsys.hsv_to_rgb(index * 0.618034 % 1, 0.65, 0.9)
    return round(r * 255), round(g * 255), round(b * 255)


Channel = Annotated[int, Field(ge=0, le=255)]
YamlColor = tuple[Channel, Channel, Channel]
RawId = Annotated[int, Field(ge=RAW_ID_MIN, le=RAW_ID_MAX)]


class ClassEntry(BaseModel):
    """One class of ``labels.yaml``."""

    model_config = ConfigDict(extra="forbid")

    name: str
    color: YamlColor | None = None
    raw: list[RawId] | None = None


class LabelsFile(BaseModel):
    """The content of ``labels.yaml``; the module's docstring describes it."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    masks: Literal["ids", "binary", "colors"] = "ids"
    classes: list[ClassEntry] = Field(min_length=1, max_length=255)
    ignore: list[RawId] | list[YamlColor] | None = None

    @field_validator("classes", mode="before")
    @classmethod
    def _names_alone(cls, values: Any) -> Any:
        return (
            [{"name": v} if isinstance(v, str) else v for v in values] if isinstance(values, list) else values
        )

    @model_validator(mode="after")
    def _consistent(self) -> LabelsFile:
        if self.masks == "binary" and len(self.classes) != 2:
            raise ValueError("masks: binary needs two classes")
        if self.masks != "ids" and any(c.raw is not None for c in self.classes):
            raise ValueError(f"raw ids have no meaning with masks: {self.masks}")
        if self.masks == "colors" and any(c.color is None for c in self.classes):
            raise ValueError("masks: colors needs a color for every class")
        wanted, kind = (tuple, "RGB colours") if self.masks == "colors" else (int, "raw ids")
        if not all(isinstance(raw, wanted) for raw in self.ignore or []):
            raise ValueError(f"ignore must hold {kind} with masks: {self.masks}")
        _require_unambiguous(self)
        return self

    def label_set(self, default_name: str) -> LabelSet:
        """These labels as the :class:`LabelSet` that reads the masks."""
        classes = tuple(LabelClass(i, c.name, c.color or chosen_color(i)) for i, c in enumerate(self.classes))
        name = self.name or default_name
        if self.masks == "colors":
            return LabelSet(name, classes, raw_colors=dict(self.pairs()))
        return LabelSet(name, classes, raw_ids=dict(self.pairs()))

    def pairs(self) -> list[tuple[Any, int]]:
        """Raw id or colour to class id or ignore index, ignored ones last."""
        if self.masks == "binary":
            return [(0, 0), (255, 1), *self._ignored([])]
        if self.masks == "colors":
            return [*((c.color, i) for i, c in enumerate(self.classes)), *self._ignored([])]
        listed = [
            (raw, i) for i, c in enumerate(self.classes) for raw in (c.raw if c.raw is not None else [i])
        ]
        taken = any(raw == IGNORE_INDEX for raw, _ in listed)
        return [*listed, *self._ignored([] if taken else [IGNORE_INDEX])]

    def _ignored(self, default: list[Any]) -> list[tuple[Any, int]]:
        return [(raw, IGNORE_INDEX) for raw in (default if self.ignore is None else self.ignore)]


def _bad_labels(subject: Path | str, found: str) -> DataError:
    return DataError(
        subject,
        expected="a YAML file with the classes' names, such as 'classes: [background, road]'",
        found=found,
        next_step="Give a list 'classes:' of names; color, raw, masks and ignore are optional.",
    )


def _require_unambiguous(labels: LabelsFile) -> None:
    names = [c.name for c in labels.classes]
    raw = [key for key, _ in labels.pairs()]
    for what, values in (("class name", names), ("raw id or colour", raw)):
        twice = sorted({str(v) for v in values if values.count(v) > 1})
        if twice:
            raise ValueError(f"{what} given twice: {', '.join(twice)}")
