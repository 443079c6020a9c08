"""A foreign model as its own file describes it, and how it is run bare: what every format has to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import FileFormat, Precision

if TYPE_CHECKING:
    from edgeseg.export.wrapping.reading import Reading

PREFIX = "edgeseg_"
"""Of the names of all tensors that wrapping adds."""


@dataclass(frozen=True)
class Quantisation:
    """A code ``q`` stands for ``scale * (q - zero)``."""

    scale: float
    zero: int

    def __str__(self) -> str:
        return f"scale {self.scale:.6g}, zero {self.zero}"


@dataclass(frozen=True)
class Tensor:
    """An input or output: NumPy dtype name, shape with ``None`` where it is open, and what its codes mean.

    ``alias`` is a second name that the file has for it.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    quantisation: Quantisation | None = None
    alias: str = ""

    def __str__(self) -> str:
        codes = f" ({self.quantisation})" if self.quantisation else ""
        return f"{self.name} {shown(self.dtype, self.shape)}{codes}"

    def fixed(self, shape: Sequence[int]) -> Tensor:
        """The same tensor with the shape that it really has."""
        return Tensor(self.name, self.dtype, tuple(shape), self.quantisation, self.alias)


class RawModel(Protocol):
    """A foreign file, opened by its own runtime as it is."""

    path: Path
    data: bytes
    format: FileFormat
    runtime: str
    precision: Precision
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]

    def run(self, pixels: npt.NDArray[Any], output: Tensor) -> npt.NDArray[Any]:
        """What one output gives for an input of the input's dtype and a fixed shape.

        Raises:
            UsageError: The model does not take an input of that shape.
        """

    def wrapped(self, reading: Reading) -> bytes:
        """The file with the graph contract around it: ``uint8 [1, H, W, 3]`` to ``uint8 [1, H, W]``.

        Raises:
            ConversionError: The graph could not be written.
        """


def shown(dtype: str, shape: Sequence[int | None]) -> str:
    """Dtype and shape for messages, ``?`` where a size is open."""
    return f"{dtype} [{', '.join('?' if size is None else str(size) for size in shape)}]"


def code_range(dtype: str) -> tuple[int, int]:
    """The lowest and highest code of an integer type."""
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)
