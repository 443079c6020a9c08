"""How a model is brought to int8: what may be chosen, and what the converter of each format does with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Int8Settings:
    """One way of quantising a model after training.

    Args:
        ranges: A name of :data:`edgeseg.export.ranges.RANGES`.
        float_layers: Layers that keep computing in float, by their quantiser's names.
    """

    ranges: str = "minmax"
    float_layers: frozenset[str] = frozenset()


class Quantiser(Protocol):
    """A model that was calibrated once, and can be quantised in many ways.

    Attributes:
        layers: The layers that compute, in the order in which they run.
    """

    layers: tuple[str, ...]

    def quantise(self, settings: Int8Settings) -> bytes:
        """The model file.

        Raises:
            ConversionError: The converter failed.
        """
