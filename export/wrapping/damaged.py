"""What is said of a foreign file that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgeseg.errors import BundleError, DataError, UnsafeModelError, UsageError
from edgeseg.export.wrapping.tensors import shown


def unreadable(path: Path, runtime: str, found: str) -> DataError:
    return DataError(
        path,
        expected=f"a model that {runtime} can load",
        found=found.strip(),
        next_step="Convert the model again.",
    )


def refused_input(path: Path, pixels: npt.NDArray[Any], error: Exception) -> UsageError:
    """Of pixels ``pixels`` that the runtime would not take, or not to the end of the model."""
    return UsageError(
        path,
        expected=f"a model of {shown(pixels.dtype.name, pixels.shape)}",
        found=str(error).strip(),
        next_step="Give another --size, or convert the model for one fixed size.",
    )


@contextmanager
def not_a_bundle(path: Path, runtime: str) -> Iterator[None]:
    """The vehicle's checks of a model file, of one that is in no bundle yet.

    Raises:
        UnsafeModelError: As it is.
        DataError: What else the vehicle says of the bundle.
    """
    try:
        yield
    except UnsafeModelError:
        raise
    except BundleError as error:
        raise unreadable(path, runtime, error.found) from error
