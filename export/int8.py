"""How a model is brought to int8: what may be chosen, and what the converter of each format does with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Int8Settings:
    """One way of quantising a model after training.

    Args:
        ranges: One of the quantiser's ``ranges``.
        float_layers: Layers that keep computing in float, by their quantiser's names.
    """

    ranges: str = "minmax"
    float_layers: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Int8File:
    """What a quantiser makes: the model file, and its weights where the format keeps them apart."""

    data: bytes
    weights: bytes | None = None


class Quantiser(Protocol):
    """A model that can be quantised in many ways.

    Attributes:
        layers: The layers that compute, in the order in which they run.
        ranges: The rules by which it can choose the ranges of activations, the plain one first.
    """

    layers: tuple[str, ...]
    ranges: tuple[str, ...]

    def quantise(self, settings: Int8Settings) -> Int8File:
        """The model file.

        Raises:
            ConversionError: The converter failed.
        """

    def quick(self) -> Quantiser:
        """The same for trying very many settings, be it with coarser ranges."""
