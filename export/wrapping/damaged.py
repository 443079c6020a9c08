"""What is said of a foreign file that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseg.errors import BundleError, DataError, UnsafeModelError


def unreadable(path: Path, runtime: str, found: str) -> DataError:
    return DataError(
        path,
        expected=f"a model that {runtime} can load",
        found=found.strip(),
        next_step="Convert the model again.",
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
