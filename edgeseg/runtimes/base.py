"""What every runtime does, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.bundle import Bundle, ModelFile


@dataclass(frozen=True)
class RawOutput:
    """One frame's class ids ``uint8 [H, W]`` and, where the graph gives it, confidence ``uint8 [H, W]``."""

    mask: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None = None


class Runtime(Protocol):
    """A loaded model. ``infer`` is called from one thread at a time."""

    name: str
    threads: int

    def infer(self, image: npt.NDArray[np.uint8]) -> RawOutput:
        """One frame ``uint8 [H, W, 3]`` RGB at the model's input size.

        The arrays returned belong to the caller: the next call does not overwrite them.

        Raises:
            InferenceError: The frame's shape or dtype is wrong, or the runtime failed.
        """

    def close(self) -> None:
        """Release the model; calling twice is harmless."""


class RuntimeFactory(Protocol):
    """What ``RUNTIMES`` holds: how to know whether a runtime is here, and how to load a model with it."""

    name: str
    formats: tuple[str, ...]

    def version(self) -> str | None:
        """The installed version, or ``None`` where the runtime is not installed."""

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> Runtime:
        """Load one model file of a checked bundle.

        Raises:
            MissingExtraError: The runtime is not installed.
            UnsafeModelError: The file refers to data or code outside itself.
            BundleError: The file cannot be loaded, or its inputs and outputs are not the manifest's.
        """
