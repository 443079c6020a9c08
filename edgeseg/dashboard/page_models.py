"""The models on the page: opened once, and what they said of an image kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from edgeseg.dashboard.images import Picture
from edgeseg.dashboard.markup import plain
from edgeseg.dashboard.model import BundleModel, FunctionModel, Model, Prediction
from edgeseg.dashboard.parts import Parts, Settings
from edgeseg.dashboard.service import ServiceModel, is_url, open_services
from edgeseg.errors import EdgesegError
from edgeseg.loopback import TOKEN_VARIABLE

_MOST_MODELS = 12
_KEPT_PREDICTIONS = 256
_SERVICE_LISTING_S = 10
_NAMED_BY: dict[str | type[Any], Callable[[Any], str]] = {
    Picture: lambda picture: picture.key,
    **dict.fromkeys((BundleModel, FunctionModel, ServiceModel), lambda model: model.digest),
}
"""What tells pictures and models apart, for what is kept: equal weights and pixels give equal masks."""


@dataclass(frozen=True)
class _File:
    """A model on disk; ``stamp`` changes with the file, and then it is opened anew."""

    path: str
    stamp: tuple[int, ...]


def open_models(settings: Settings, parts: Parts) -> dict[str, Model]:
    """Each model of the command line by its name here; what does not open is a message in the sidebar."""
    opened: dict[str, Model] = {}
    for text in settings.models:
        try:
            found = _open(text, parts)
        except EdgesegError as error:
            st.sidebar.error(plain(str(error)), icon=":material/error:")
            continue
        for model in found:
            opened[_free_name(model, opened)] = model
    return opened


def predict(model: Model, picture: Picture) -> Prediction:
    """What the model says of a picture; asked once for each weights and pixels.

    Raises:
        EdgesegError: It could not.
    """
    return _predicted(model, picture)


def _open(text: str, parts: Parts) -> Sequence[Model]:
    if is_url(text):
        return _services(text)
    return [_file(_File(text, _stamp(Path(text))), parts)]


@st.cache_resource(ttl=_SERVICE_LISTING_S, show_spinner="Asking the service for its models…")
def _services(url: str) -> Sequence[Model]:
    return open_services(url, os.environ.get(TOKEN_VARIABLE))


@st.cache_resource(max_entries=_MOST_MODELS, show_spinner="Opening the model…")
def _file(file: _File, _parts: Parts) -> Model:
    path = Path(file.path)
    return _parts.open_keras(path) if path.suffix == ".keras" else BundleModel(path)


@st.cache_resource(max_entries=_KEPT_PREDICTIONS, show_spinner=False, hash_funcs=_NAMED_BY)
def _predicted(model: Model, picture: Picture) -> Prediction:
    return model.predict(picture.image)


def _stamp(path: Path) -> tuple[int, ...]:
    file = path / "manifest.json" if path.is_dir() else path
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size


def _free_name(model: Model, taken: dict[str, Model]) -> str:
    """The model's name, with where it runs and then a number where that is taken."""
    if model.name not in taken:
        return model.name
    name, number = f"{model.name}, {model.kind}", 2
    while name in taken:
        name, number = f"{model.name}, {model.kind} ({number})", number + 1
    return name
