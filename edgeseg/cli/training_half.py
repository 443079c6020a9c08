"""Entering the half that needs Keras: quietly, and with a clear message where it is not installed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgeseg.errors import MissingExtraError

if TYPE_CHECKING:
    from edgeseg.training.recipe import Recipe

# What TensorFlow says on every start, before its own log level is heeded.
_NOISE = (
    "port.cc",
    "absl::InitializeLog",
    "cpu_feature_guard.cc",
    "rebuild TensorFlow with",
    "cudart_stub.cc",
    "cuda_platform.cc",
)


@contextmanager
def training_half(what: str, *, as_others: bool = False) -> Iterator[None]:
    """Wrap the imports of Keras code in this.

    Args:
        what: Who needs it, for the message: ``edgeseg train``.
        as_others: Import Keras and give memory back as a plain script does, for measuring one. Else this
            process keeps what it frees, a third more steps a second on a CPU, and starts sooner.

    Raises:
        MissingExtraError: Keras, TensorFlow or another package of the extra ``train`` is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from edgeseg.training.allocator import keep_freed_memory
    from edgeseg.training.lean_import import import_keras

    if not as_others:
        keep_freed_memory()
    try:
        with _without_noise():
            if not as_others:
                import_keras()
            yield
            _find_devices()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("edgeseg"):
            raise
        raise MissingExtraError.of(what, error.name, "train") from error


def check_in_training_half(what: str, groups: Sequence[Sequence[Recipe]]) -> None:
    """Find what does not fit of recipes before they are trained; for a process of its own.

    Raises:
        MissingExtraError: As :func:`training_half`.
        UsageError, DataError: As :func:`edgeseg.training.recipe_check.check_one_of_each`.
    """
    with training_half(what):
        from edgeseg.training.recipe_check import check_one_of_each
    check_one_of_each(groups)


def _find_devices() -> None:
    """TensorFlow looks for a GPU when it is first asked, and complains at length where there is none."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # The physical ones: to ask for the logical ones is to settle that there are no other machines.
        tf.config.list_physical_devices("GPU")


@contextmanager
def _without_noise() -> Iterator[None]:
    """Hold back what C++ code writes to stderr, and then pass on all of it that is not ``_NOISE``."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held.read().decode("utf-8", "replace").splitlines(keepends=True):
                if not any(noise in line for noise in _NOISE):
                    sys.stderr.write(line)
