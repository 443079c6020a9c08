"""A picture of what a game makes: mask, generated image and a real one side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeseg.training.data.cache import CachedSplit
from edgeseg.training.generative.game import Game, Pixels
from edgeseg.training.generative.pairs import draw_noise
from edgeseg.training.plots import class_legend, new_figure

ROWS = 4
_CELL = 2.6
_COARSE = 4


def plot_grid(path: Path, game: Game, learnt: CachedSplit, seed: int, title: str) -> None:
    """Draw a few pairs, the same masks or noise in every epoch.

    The real image beside one made of a mask is that mask's. Beside one made of noise it is the nearest of
    all that were learnt from, by the mean square difference of small versions: one that looks the same was
    copied.

    Args:
        path: PNG file.
        game: Makes them.
        learnt: Real images and masks.
        seed: Of the noise.
        title: Above the grid.
    """
    rows = np.linspace(0, len(learnt) - 1, min(ROWS, len(learnt))).round().astype(int)
    images, masks = game.make(draw_noise(game, len(rows), seed), learnt.masks[rows])
    real = learnt.images[_nearest(images, learnt.images)] if game.noise else learnt.images[rows]
    names = ("generated mask", "generated image", "nearest real image") if game.noise else (
        "mask", "generated", "real",
    )  # fmt: skip
    height, width = masks.shape[1:]
    inches = len(rows) * _CELL * height / width + 0.32 * -(-len(learnt.labels) // 6) + 1.0
    with new_figure(path, 3 * _CELL + 0.2, inches, rows=len(rows), columns=3) as (figure, grid):
        for axes, mask, image, truth in zip(grid, masks, images, real, strict=True):
            for panel, picture in zip(axes, (learnt.labels.colorize(mask), image, truth), strict=True):
                panel.imshow(picture, interpolation="nearest")
                panel.set_axis_off()
        for axes, name in zip(grid[0], names, strict=True):
            axes.set_title(name, fontweight="normal", loc="center")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
        class_legend(figure, learnt.labels)


def _nearest(images: Pixels, real: Pixels) -> list[int]:
    """For each image the number of the real one that is most like it."""
    small = np.asarray(real[:, ::_COARSE, ::_COARSE], np.float32)
    return [
        int(((small - image[::_COARSE, ::_COARSE]) ** 2).mean(axis=(1, 2, 3)).argmin()) for image in images
    ]
