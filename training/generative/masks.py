"""New masks of real ones: mirrored, and joined of two."""

from __future__ import annotations

import numpy as np

from edgeseg.training.generative.game import Pixels


def new_masks(masks: Pixels, count: int, rng: np.random.Generator) -> Pixels:
    """Masks that are like the given ones and mostly not among them, ``uint8 [count, H, W]``.

    Each is one of the given masks, in shuffled order, mirrored with one chance in two. With one chance in two
    it is then cut at a column of its middle half, and what lies right of the cut is another mask's, mirrored
    or not. The column is the one where the two differ in the fewest places: a road goes on as a road.

    Args:
        masks: ``uint8 [N, H, W]``, N at least 1.
        count: How many.
        rng: Draws all of it.
    """
    order = np.concatenate([rng.permutation(len(masks)) for _ in range(-(-count // len(masks)))])[:count]
    return np.stack([_new_mask(masks, int(number), rng) for number in order])


def _new_mask(masks: Pixels, number: int, rng: np.random.Generator) -> Pixels:
    mask = _mirrored(masks[number], rng)
    if rng.random() < 0.5:
        return joined(mask, _mirrored(masks[rng.integers(len(masks))], rng))
    return mask


def joined(left: Pixels, right: Pixels) -> Pixels:
    """The left part of one mask ``[H, W]`` and the right of another, cut in the middle half of columns."""
    width = left.shape[1]
    first, last = width // 4, width - width // 4
    # Across the cut, a column of the left one meets the next column of the right one.
    differences = (left[:, first : last - 1] != right[:, first + 1 : last]).sum(axis=0)
    cut = first + 1 + int(differences.argmin())
    return np.concatenate([left[:, :cut], right[:, cut:]], axis=1)


def _mirrored(mask: Pixels, rng: np.random.Generator) -> Pixels:
    return mask[:, ::-1] if rng.random() < 0.5 else mask
