"""The weights of a file by the names of their layers, read without building its model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from edgeseg.errors import DataError

_KERAS_MEMBER = "model.weights.h5"

LayerWeights = dict[str, list[np.ndarray]]
"""Name of a layer to its arrays, in the order in which Keras keeps them."""


def read_weights(path: Path) -> LayerWeights:
    """All weights of a ``.keras`` or ``.weights.h5`` file, or of a ``.h5`` file of weights or a whole model.

    Nothing in the file is executed, and none of its layers' classes needs to be known.

    Raises:
        DataError: There is no such file, it is damaged, or it does not say which layers its weights are of.
    """
    try:
        with h5py.File(_opened(path), "r") as file:
            named = _of_keras2(file) or _of_keras3(file)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _unreadable(path, str(error)) from error
    if not named:
        raise _unreadable(path, "no weights under names of layers")
    return named


def _opened(path: Path) -> Any:
    if not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        return io.BytesIO(archive.read(_KERAS_MEMBER))


def _of_keras2(file: h5py.File) -> LayerWeights:
    root = file.get("model_weights", file)
    return {
        layer: [root[layer][weight][()] for weight in _names(root[layer], "weight_names")]
        for layer in _names(root, "layer_names")
    }


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; one too long for an attribute is in several, numbered from 0."""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs:
        parts.append(f"{attribute}{len(parts)}")
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _of_keras3(file: h5py.File) -> LayerWeights:
    named: LayerWeights = {}

    def collect(path: str, group: Any) -> None:
        # A compiled model's file also holds its optimiser, whose groups have names too.
        if path.startswith("optimizer"):
            return
        if isinstance(group, h5py.Group) and "name" in group.attrs:
            named[str(group.attrs["name"])] = [group[str(index)][()] for index in range(len(group))]

    file.visititems(collect)
    return named


def _unreadable(path: Path, found: str) -> DataError:
    return DataError(
        path,
        expected="a .keras or .h5 file with the weights of a model",
        found=found if path.exists() else "nothing there",
        next_step="Save the model again with its save or save_weights.",
    )
