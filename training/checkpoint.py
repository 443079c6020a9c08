"""Checkpoints: ``.keras`` files that also say what they were trained on."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import keras

from edgeseg.atomic import atomic_file
from edgeseg.training.checkpoint_info import (
    INFO_MEMBER,
    CheckpointInfo,
    check_file,
    damaged,
    read_info,
    read_member,
)
from edgeseg.training.models import inference_model
from edgeseg.training.models.own_layers import import_own_layers
from edgeseg.training.precision import dtype_policy

_CONFIG_MEMBER = "config.json"


def save_checkpoint(model: keras.Model, path: Path, info: CheckpointInfo) -> None:
    """Write weights, optimiser state and ``info``, atomically.

    The file is an ordinary ``.keras`` archive, without the compile settings: Keras loads it where edgeseg is
    not installed, and the recipe says how it was compiled.
    """
    with atomic_file(path) as staging:
        model.save(staging)
        config = json.loads(read_member(staging, _CONFIG_MEMBER))
        config.pop("compile_config", None)
        members = {_CONFIG_MEMBER: json.dumps(config), INFO_MEMBER: info.model_dump_json(indent=2)}
        _replace_members(staging, members, beside=path)


def load_checkpoint(path: Path) -> tuple[keras.Model, CheckpointInfo | None]:
    """A model for inference in float32, and its info; ``None`` where edgeseg did not write the file.

    A model of mixed precision becomes one of float32 with the same weights, and auxiliary heads are cut off.
    Nothing in the file is executed.

    Raises:
        UsageError: There is no such file, or it is no ``.keras`` file.
        DataError: It is damaged, or holds code.
    """
    info = read_info(path)
    return inference_model(_in_float32(load_trainable(path))), info


def load_trainable(path: Path) -> keras.Model:
    """The model as it was trained, in its own precision, not compiled; :func:`restore` gives the optimiser.

    Raises:
        UsageError, DataError: As :func:`load_checkpoint`.
    """
    check_file(path)
    try:
        config = json.loads(read_member(path, _CONFIG_MEMBER))
        import_own_layers(config)
        # Layers of others that hold layers, such as KerasHub's, make these in the global policy.
        with dtype_policy(_mixed_policy(config) or "float32"):
            return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise damaged(path, str(error)) from error


def restore(model: keras.Model, path: Path) -> None:
    """Put a checkpoint's weights and optimiser state into a compiled model of the same recipe.

    The optimiser must be built: Keras restores only one that has its variables already.

    Raises:
        UsageError: There is no such file.
        DataError: It is damaged, or of another model, optimiser or precision.
    """
    check_file(path)
    try:
        with warnings.catch_warnings():
            # Keras only warns of an optimiser that does not fit, and would go on with a fresh one.
            warnings.filterwarnings("error", "Skipping variable loading for optimizer", UserWarning)
            model.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning, zipfile.BadZipFile) as error:
        raise damaged(path, str(error)) from error


def _in_float32(model: keras.Model) -> keras.Model:
    config = model.get_config()
    plain = _with_float32_policies(config)
    if plain == config:
        return model
    with dtype_policy("float32"):
        converted = type(model).from_config(plain)
    converted.set_weights(model.get_weights())
    return converted


def _mixed_policy(value: Any) -> str | None:
    """The name of the first policy of mixed precision in a configuration, if there is any."""
    if isinstance(value, list):
        return next(filter(None, map(_mixed_policy, value)), None)
    if not isinstance(value, dict):
        return None
    if value.get("class_name") == "DTypePolicy" and value["config"]["name"].startswith("mixed_"):
        return str(value["config"]["name"])
    return _mixed_policy(list(value.values()))


def _with_float32_policies(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_with_float32_policies(item) for item in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy" and value["config"]["name"].startswith("mixed_"):
        return {**value, "config": {**value["config"], "name": "float32"}}
    return {key: _with_float32_policies(item) for key, item in value.items()}


def _replace_members(path: Path, members: dict[str, str], beside: Path) -> None:
    """``beside`` is whose leftovers are looked for: a staging file's own would stay for ever."""
    with (
        atomic_file(path, beside=beside) as staging,
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(staging, "w") as new,
    ):
        for entry in old.infolist():
            if entry.filename not in members:
                new.writestr(entry, old.read(entry))
        for name, text in members.items():
            new.writestr(name, text)
