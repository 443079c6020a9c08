"""Networks that make labelled images from a dataset's: ``generate`` trains one and writes what it makes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgeseg.errors import UnknownNameError

if TYPE_CHECKING:
    from edgeseg.training.generative.game import Game

# Names of modules, not the modules: listing the GANs must not need Keras.
GANS: dict[str, str] = {
    "pix2pix": "edgeseg.training.generative.pix2pix",
    "sagan": "edgeseg.training.generative.sagan",
}
"""Name of a GAN to the module whose ``build`` makes it."""

MULTIPLE = 32
"""What height and width are multiples of: every GAN halves them five times."""


def build_game(name: str, classes: int, height: int, width: int, channels: int) -> Game:
    """The two networks of a GAN, new.

    Args:
        name: One of ``GANS``.
        classes: Number of classes.
        height, width: Of the images in pixels, multiples of ``MULTIPLE``.
        channels: Width of the outermost layers.

    Raises:
        UnknownNameError: There is no such GAN.
    """
    if name not in GANS:
        raise UnknownNameError.of("generator", name, GANS)
    game: Game = importlib.import_module(GANS[name]).build(classes, height, width, channels)
    return game
