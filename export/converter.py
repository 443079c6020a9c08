"""What all converters share: the model they are given, and how they run without filling the terminal."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from edgeseg.bundle.manifest import Output
from edgeseg.errors import ConversionError, MissingExtraError
from edgeseg.export.progress import Advance

if TYPE_CHECKING:
    import keras

EXTRA = "export"
"""The extra of the installation that brings all converters."""

_STDOUT, _STDERR = 1, 2
_MESSAGE_LENGTH = 400


@dataclass(frozen=True)
class Signature:
    """What goes into a model's graph and comes out of it: image ``uint8 [1, height, width, 3]``."""

    height: int
    width: int
    classes: int
    output: Output

    @property
    def output_names(self) -> tuple[str, ...]:
        """``mask``, ``logits``, or ``mask`` and ``confidence``: the names of the outputs, in order."""
        return tuple(self.output.split("+"))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of each output: ``[1, H, W]``, or ``[1, H, W, C]`` for logits."""
        plane = (1, self.height, self.width)
        return (*plane, self.classes) if self.output == "logits" else plane


def signature_of(model: keras.Model, output: Output) -> Signature:
    """The signature that a Keras model exports to.

    Raises:
        ConversionError: It does not take ``uint8 [N, H, W, 3]`` and give ``[N, H, W, C]`` of static sizes.
    """
    given, made = model.input_shape, model.output_shape
    dtype = model.inputs[0].dtype if len(model.inputs) == 1 else "several inputs"
    static = isinstance(given, tuple) and len(given) == 4 and None not in given[1:] and given[3] == 3
    maps = isinstance(made, tuple) and len(made) == 4 and made[1:3] == given[1:3] and made[3] is not None
    if not (static and maps and dtype == "uint8"):
        raise ConversionError(
            f"model {model.name!r}",
            expected="one input uint8 [N, H, W, 3] of a fixed size, and logits [N, H, W, C] of that size",
            found=f"{dtype} {given} to {made}",
            next_step="Build it with edgeseg.training.models.build_model, which keeps to this contract.",
        )
    return Signature(given[1], given[2], made[3], output)


def require_installed(what: str, packages: Iterable[str]) -> None:
    """Find out before the slow part whether everything that it imports is there.

    Args:
        what: Who needs it, for the message.
        packages: Names as in ``import NAME``.

    Raises:
        MissingExtraError: One of them is not installed.
    """
    missing = first_missing(packages)
    if missing:
        raise MissingExtraError.of(what, missing, EXTRA)


def first_missing(packages: Iterable[str]) -> str | None:
    """The first of these packages, as in ``import NAME``, that is not installed; nothing is imported."""
    return next((package for package in packages if importlib.util.find_spec(package) is None), None)


class Capture:
    """What native code and Python wrote to stdout and stderr while a converter ran."""

    def __init__(self, log: BinaryIO, terminal: tuple[int, int]) -> None:
        self._log = log
        self._terminal = terminal

    def showing(self, advance: Advance) -> Advance:
        """``advance``, called with the terminal given back for as long as the call takes."""

        def shown(finished: int, total: int) -> None:
            _point_output_at(*self._terminal)
            try:
                advance(finished, total)
            finally:
                _point_output_at(self._log.fileno(), self._log.fileno())

        return shown

    def text(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", errors="replace")


@contextmanager
def quiet() -> Iterator[Capture]:
    """Keep what the block writes to stdout and stderr, from C++ too, from the terminal.

    Both file descriptors go to a temporary file for as long as the block runs; exceptions pass as they are.
    """
    terminal = (os.dup(_STDOUT), os.dup(_STDERR))
    try:
        with tempfile.TemporaryFile() as log:
            _point_output_at(log.fileno(), log.fileno())
            try:
                yield Capture(log, terminal)
            finally:
                _point_output_at(*terminal)
    finally:
        for descriptor in terminal:
            os.close(descriptor)


@contextmanager
def converting(what: str, advice: str) -> Iterator[Capture]:
    """Run a converter in the block: silent when it works, and one clear message when it fails.

    All that the converter wrote is a note of the error: a traceback shows it.

    Args:
        what: The conversion, for the message, for instance ``conversion to LiteRT int8``.
        advice: What to do if it fails, as a full sentence.

    Raises:
        ConversionError: The block raised; the message holds the converter's last one.
        MissingExtraError: A package that the converter imports is not installed.
    """
    with quiet() as capture:
        try:
            yield capture
        except ModuleNotFoundError as error:
            raise MissingExtraError.of(what, str(error.name), EXTRA) from error
        except Exception as error:
            log = capture.text()
            failed = ConversionError(
                what,
                expected="the converter to finish",
                found=_last_message(error, log),
                next_step=advice,
            )
            failed.add_note(f"The converter said:\n{log.strip() or 'nothing'}")
            raise failed from error


def _point_output_at(stdout: int, stderr: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(stdout, _STDOUT)
    os.dup2(stderr, _STDERR)


def _last_message(error: Exception, log: str) -> str:
    """The line of the exception, or else of the log, that says most: the last that calls itself an error."""
    lines = [line.strip() for line in (str(error) or log).splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
    return f"{type(error).__name__}: {telling[-1][:_MESSAGE_LENGTH]}"
