"""Whether a camera that gives frames still sees: their order, frozen pixels, a lens that shows nothing.

None of these has a clock of its own; who reads the camera passes the time in. Each is for one opening of one
camera: after a reconnection, make new ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.resize import Image

Order = Literal["new", "duplicate", "reordered"]

_NUMBERS = 1 << 32
# Frames that overtake others do so by a few; further back lies a camera that began to count anew.
REORDER_WINDOW = 8
# Ten minutes at 60 fps. A camera that restarts after 2^31 frames seems to jump ahead, not back.
LARGEST_GAP = 36_000


@dataclass(frozen=True)
class Arrival:
    """What a frame's number says about it.

    Args:
        order: ``new`` if it is later than all before it; ``duplicate`` of the frame before it; or
            ``reordered``, which is older than one that came already.
        lost: How many numbers are missing right before it. One of those may still come, as ``reordered``.
        restarted: Whether the driver began to count anew with this frame.
    """

    order: Order
    lost: int = 0
    restarted: bool = False


class SequenceGate:
    """Sorts frames by the driver's number, an unsigned 32-bit integer that wraps."""

    def __init__(self) -> None:
        self._newest: int | None = None
        self._last: int | None = None
        self._steps_behind = 0

    def see(self, sequence: int | None) -> Arrival:
        """Judge the next frame by its number; without one it is ``new``, since nothing else is known."""
        if sequence is None:
            return Arrival("new")
        arrival = self._judge(sequence)
        self._steps_behind = self._steps_behind + 1 if arrival.order == "reordered" else 0
        self._last = sequence
        if arrival.order == "new":
            self._newest = sequence
        return arrival

    def _judge(self, sequence: int) -> Arrival:
        if self._newest is None or self._last is None:
            return Arrival("new")
        if sequence == self._last:
            return Arrival("duplicate")
        ahead = _distance(sequence, self._newest)
        if 0 < ahead <= LARGEST_GAP:
            return Arrival("new", lost=ahead - 1)
        if ahead == 0:
            return Arrival("duplicate")
        # A camera that restarts after five frames is never far behind, but it counts on from there.
        counts_on = self._steps_behind >= 2 and _distance(sequence, self._last) == 1
        if -REORDER_WINDOW <= ahead < 0 and not counts_on:
            return Arrival("reordered")
        return Arrival("new", restarted=True)


def _distance(to: int, since: int) -> int:
    """How far ``to`` is ahead of ``since``, on the shorter way around the wrap; negative if it is behind."""
    return (to - since + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2


class FrozenCheck:
    """Whether a camera repeats one picture, bit by bit, under new stamps.

    Sensor noise changes some of the sampled pixels in every frame, so a camera that looks at a still scene is
    not taken for frozen. A picture without any noise, such as a drawn or a fully saturated one, is.

    Args:
        frozen_ms: For how many milliseconds the pixels have to stay the same; 0 never says frozen.
    """

    _STEP = 16

    def __init__(self, frozen_ms: float) -> None:
        self.frozen_ms = frozen_ms
        self._sample: Image | None = None
        self._whole: Image | None = None
        self._since_ns: int | None = None

    def see(self, image: Image, now_ns: int) -> bool:
        """Judge the next frame, ``uint8 [H, W, 3]``, which came at ``now_ns``.

        It may be written over afterwards: what is needed of it is copied.
        """
        if not self.frozen_ms:
            return False
        # Columns are shifted by a few pixels: codecs repeat themselves every 8 and 16.
        sample = image[3 :: self._STEP, 5 :: self._STEP].copy()
        before, self._sample = self._sample, sample
        if before is None or not np.array_equal(sample, before):
            self._since_ns, self._whole = None, None
            return False
        # Copying every frame would cost more than all else here, so the copy is made at the first suspicion.
        if self._whole is None or not _equal(image, self._whole):
            self._whole, self._since_ns = image.copy(), now_ns
        return self._since_ns is not None and now_ns - self._since_ns >= self.frozen_ms * 1e6


def _equal(image: Image, other: Image) -> bool:
    return image.shape == other.shape and cv2.norm(image, other, cv2.NORM_INF) == 0


View = Literal["", "black", "saturated", "covered"]

# Levels are of the grey picture, 0 to 255. A night drive has lamps, signs or its own headlights in view, and
# one of them in a thousandth of the picture (30 x 30 pixels of 1280 x 720) is enough not to be called black.
BLACK_LEVEL = 16
BLACK_SHARE = 0.999
SATURATED_LEVEL = 245
SATURATED_SHARE = 0.98
# A hand, tape or mud: the means of 16 x 9 blocks are nearly alike, and nothing small stands out either.
COVERED_SPREAD = 12
COVERED_DETAIL = 40
_BLOCKS = (16, 9)


class ViewCheck:
    """Whether the lens shows anything.

    ``black``: 99.9 % of the sampled pixels are at most at level 16. ``saturated``: 98 % are at least at 245.
    ``covered``: the means of 16 x 9 blocks differ by less than 12 levels, and no thousandth of the pixels
    lies more than 40 levels off the median. A covered lens and dense fog look alike: in both nothing is seen.
    """

    def see(self, image: Image) -> View:
        """One word for a frame ``uint8 [H, W, 3]`` showing nothing, or ``""``; judge by several frames."""
        height, width = image.shape[:2]
        step = max(1, min(height, width) // 180)
        # Every pixel of the sample is one of the picture's own. Rows are sampled half as finely, since memory
        # is read along them; resize() does it in a quarter of the time that a slice takes.
        size = (max(1, width // step), max(1, height // (2 * step)))
        grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST), cv2.COLOR_RGB2GRAY)
        share = np.cumsum(cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel()) / grey.size
        if share[BLACK_LEVEL] >= BLACK_SHARE:
            return "black"
        if 1 - share[SATURATED_LEVEL - 1] >= SATURATED_SHARE:
            return "saturated"
        return "covered" if _is_uniform(np.asarray(grey, np.uint8), share) else ""


def _is_uniform(grey: Image, share: npt.NDArray[np.float64]) -> bool:
    low, median, high = (int(np.searchsorted(share, at)) for at in (0.001, 0.5, 0.999))
    if max(high - median, median - low) > COVERED_DETAIL:
        return False
    blocks = cv2.resize(grey, _BLOCKS, interpolation=cv2.INTER_AREA)
    return int(blocks.max()) - int(blocks.min()) < COVERED_SPREAD
