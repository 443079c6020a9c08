"""The layers of a model, and settings of theirs that hold for a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras


def all_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """Every layer of a model, those inside of models and of layers made of others too, each once."""
    # Keras has no public name for it; ``layers`` gives the outermost alone.
    yield from model._flatten_layers(include_self=False)


@contextmanager
def temporarily(layers: Sequence[keras.Layer], attribute: str, value: Any) -> Iterator[None]:
    """Give an attribute of layers a value, and each its own back in the end."""
    before = [getattr(layer, attribute) for layer in layers]
    try:
        for layer in layers:
            setattr(layer, attribute, value)
        yield
    finally:
        for layer, own in zip(layers, before, strict=True):
            setattr(layer, attribute, own)
