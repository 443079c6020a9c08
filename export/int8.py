"""How a model is brought to int8: what may be chosen, and what the converter of each format does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.ranges import RANGES, Range, Seen

Key = TypeVar("Key", int, str)
Self = TypeVar("Self", bound="Calibrated[Any]")


@dataclass(frozen=True)
class Int8Settings:
    """One way of quantising a model after training.

    Args:
        ranges: One of the quantiser's ``ranges``.
        float_layers: Layers that keep computing in float, by their quantiser's names.
    """

    ranges: str = "minmax"
    float_layers: frozenset[str] = frozenset()


class Quantiser(Protocol):
    """A model that can be quantised in many ways.

    Attributes:
        layers: What can be kept in float, a layer or a part of the model, in the order in which they run.
        ranges: The rules by which it can choose the ranges of activations, the plain one first.
    """

    layers: tuple[str, ...]
    ranges: tuple[str, ...]

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        """The model file.

        Raises:
            ConversionError: The converter failed.
        """

    def quick(self) -> Quantiser:
        """The same for trying very many settings, be it with coarser ranges."""


class Calibrated(Generic[Key]):
    """What quantisers share that see the calibration images once, whatever is made of them afterwards.

    Args:
        seen: What each tensor held, by what the format calls it.
        layers: The layers that compute.
    """

    ranges = tuple(RANGES)

    def __init__(self, seen: Mapping[Key, Seen], layers: tuple[str, ...]) -> None:
        self._seen, self.layers = seen, layers
        self._spans: dict[str, dict[Key, Range]] = {}

    def spans(self, settings: Int8Settings) -> dict[Key, Range]:
        """The range of each tensor, by the rule that the settings name."""
        # Kept: a network of 146 layers is quantised as often only to measure each of them.
        if settings.ranges not in self._spans:
            chosen = RANGES[settings.ranges]
            self._spans[settings.ranges] = {key: chosen(seen) for key, seen in self._seen.items()}
        return self._spans[settings.ranges]

    def quick(self: Self) -> Self:
        """It is as quick as it can be: nothing is calibrated anew."""
        return self
