"""From the camera's pixels to what a foreign model takes, as numbers that a graph can hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.export.wrapping.tensors import Quantisation
from edgeseg.training.pixel_scales import PIXEL_SCALES

_NUDGE = 1 / 256
"""Of a code: scales such as 1/127.5 put every pixel halfway between two codes. All of them go up."""


@dataclass(frozen=True)
class Pixels:
    """A scale of the project, and the codes where the model's input is quantised.

    ``multiply`` and ``add`` are float32 ``[3]`` in the order red, green, blue: ``multiply * pixel + add``.
    """

    name: str
    dtype: str
    quantisation: Quantisation | None

    @property
    def multiply(self) -> npt.NDArray[np.float32]:
        return np.array(PIXEL_SCALES[self.name][0], np.float32)

    @property
    def add(self) -> npt.NDArray[np.float32]:
        up = self.quantisation.scale * _NUDGE if self.quantisation else 0.0
        return np.array(PIXEL_SCALES[self.name][1], np.float64).astype(np.float32) + np.float32(up)

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and highest value that a pixel of 0 to 255 becomes."""
        ends = [s * p + o for s, o in zip(*PIXEL_SCALES[self.name], strict=True) for p in (0, 255)]
        return min(ends), max(ends)

    @property
    def as_they_are(self) -> bool:
        """Whether every pixel of every colour is the number that the model takes already."""
        if self.dtype != "uint8" or self.quantisation is None:
            return self.dtype == "uint8"
        pixels = np.arange(256)[:, np.newaxis]
        real = pixels * self.multiply.astype(float) + self.add
        codes = np.floor(real / self.quantisation.scale + 0.5) + self.quantisation.zero
        return bool((np.clip(codes, 0, 255) == pixels).all())
