"""Other weights in a Keras model, for as long as something is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

Weights = list[npt.NDArray[np.float32]]
"""In the order of a model's ``get_weights``."""


@contextmanager
def having(model: keras.Model, weights: Weights | None) -> Iterator[None]:
    """The model with these weights in the block, or with its own; its own are put back, whatever happens."""
    before = model.get_weights()
    try:
        if weights is not None:
            model.set_weights(weights)
        yield
    finally:
        model.set_weights(before)
