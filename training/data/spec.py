"""What ``--data`` may say.

``NAME:TEXT`` with a name of :data:`DATASETS`, where the text is a folder (for ``synthetic`` its options,
which may be left out), or the path of a ``data.yaml``, which names the same things::

    dataset: camvid           # a name of DATASETS
    path: ../camvid           # the folder, from this file's folder; or the options of synthetic
    labels: labels.yaml       # only for folder: another labels file from here, or its content
    splits:                   # optional: the splits under the names that training looks for
      train: train_fit
      val: [train_dev]        # several are joined
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from edgeseg.errors import DataError, UnknownNameError, UsageError
from edgeseg.training.data.camvid import open_camvid, open_camvid_road
from edgeseg.training.data.cityscapes import open_cityscapes7, open_cityscapes8, open_cityscapes19
from edgeseg.training.data.coco import open_coco
from edgeseg.training.data.dataset import Dataset, Item
from edgeseg.training.data.folder import open_folder
from edgeseg.training.data.pairing import require_folder
from edgeseg.training.data.synthetic import open_synthetic

DATASETS: dict[str, Callable[[str], Dataset]] = {
    "camvid": open_camvid,
    "camvid_road": open_camvid_road,
    "cityscapes7": open_cityscapes7,
    "cityscapes8": open_cityscapes8,
    "cityscapes19": open_cityscapes19,
    "coco": open_coco,
    "folder": open_folder,
    "synthetic": open_synthetic,
}
_WITHOUT_PATH = "synthetic"
_WITH_QUERY = "coco"


class DataFile(BaseModel):
    """The content of a ``data.yaml``; the module's docstring describes it."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    path: str = ""
    labels: str | dict[str, Any] | None = None
    splits: dict[str, str | list[str]] | None = None


def open_dataset(spec: str) -> Dataset:
    """The dataset that ``--data`` names; the module's docstring gives the forms.

    Pairs that lack a file do not stop the opening: they are in :attr:`Dataset.problems`.

    Raises:
        UnknownNameError: There is no such kind of dataset.
        UsageError: The text is in none of the forms.
        DataError: What it names is missing, empty or malformed.
    """
    if _is_file(spec):
        return _open_file(spec)
    name, text = _name_and_text(spec)
    return DATASETS[name](text)


def check_spec(spec: str) -> None:
    """Say before slow work what :func:`open_dataset` would say of the form and of a folder that is not there.

    No file of the dataset is read.

    Raises:
        UnknownNameError, UsageError, DataError: As :func:`open_dataset`.
    """
    if _is_file(spec):
        _read(Path(spec).expanduser())
        return
    name, text = _name_and_text(spec)
    if name != _WITHOUT_PATH:
        require_folder(text.partition("?")[0] if name == _WITH_QUERY else text, f"{name}:PATH")


def _is_file(spec: str) -> bool:
    return Path(spec).suffix.lower() in (".yaml", ".yml")


def _name_and_text(spec: str) -> tuple[str, str]:
    name, colon, text = spec.partition(":")
    if name not in DATASETS:
        raise UnknownNameError.of("dataset", name, DATASETS)
    if not colon and name != _WITHOUT_PATH:
        raise UsageError(
            "--data", expected=f"{name}:PATH", found=repr(spec), next_step="Add a colon and the folder."
        )
    return name, text


def _open_file(spec: str) -> Dataset:
    file = Path(spec).expanduser()
    values = _read(file)
    if values.dataset not in DATASETS:
        raise UnknownNameError.of(f"{file}: dataset", values.dataset, DATASETS)
    has_path = values.dataset != _WITHOUT_PATH
    text = str(file.parent / Path(values.path).expanduser()) if has_path else values.path
    dataset = _open(values, text, file)
    return replace(dataset, spec=spec, **_renamed(dataset, values.splits or {}, file))


def _open(values: DataFile, text: str, file: Path) -> Dataset:
    if values.labels is None:
        return DATASETS[values.dataset](text)
    if values.dataset != "folder":
        raise _malformed(file, f"'labels' with dataset {values.dataset!r}, which brings its own")
    given = values.labels
    return open_folder(text, file.parent / given if isinstance(given, str) else given)


def _read(file: Path) -> DataFile:
    try:
        return DataFile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _malformed(file, str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _malformed(file, f"{where}: {first['msg']}" if where else first["msg"]) from error


def _renamed(dataset: Dataset, names: dict[str, str | list[str]], file: Path) -> dict[str, Any]:
    """The fields of a dataset that change when its splits get other names."""
    if not names:
        return {}
    sources = {new: [old] if isinstance(old, str) else old for new, old in names.items()}
    unknown = sorted({old for olds in sources.values() for old in olds} - set(dataset.splits))
    if unknown:
        raise _malformed(file, f"splits {', '.join(unknown)}; there are {', '.join(dataset.splits)}")
    splits = {new: _joined(dataset, olds) for new, olds in sources.items()}
    problems = [
        replace(p, split=new)
        for p in dataset.problems
        for new, olds in sources.items()
        if p.split is None or p.split in olds
    ]
    return {"splits": splits, "parts": {}, "problems": tuple(problems)}


def _joined(dataset: Dataset, splits: list[str]) -> list[Item]:
    if len(splits) == 1:
        return list(dataset.splits[splits[0]])
    return [replace(item, name=f"{split}/{item.name}") for split in splits for item in dataset.splits[split]]


def _malformed(file: Path, found: str) -> DataError:
    return DataError(
        file,
        expected="a data.yaml with 'dataset' and 'path', and optionally 'labels' and 'splits'",
        found=found,
        next_step="Correct the file.",
    )
