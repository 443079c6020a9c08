"""What a person writes after ``--sink``, taken apart."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl

from edgeseg.errors import SinkError
from edgeseg.loopback import is_loopback

_WORDS = ("none", "window", "-")
_SUFFIXES = (".mp4", ".jsonl")
_PREFIXES = ("masks", "record")

T = TypeVar("T")

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """One sink.

    Args:
        text: As it was written.
        scheme: What opens it: a word such as ``none``, a URI's scheme, ``masks``, a suffix, or ``folder``.
        place: What comes behind the scheme: a path, or host and port.
        options: What comes behind a question mark, ``?name=value&name=value``.
        fps: The source's frame rate, which a video keeps.
    """

    text: str
    scheme: str
    place: str
    options: Mapping[str, str]
    fps: float

    @classmethod
    def parse(cls, text: str, fps: float = 0.0) -> Address:
        """Take ``text`` apart; nothing is opened.

        Raises:
            SinkError: Its options are not of the form ``name=value``.
        """
        if text in _WORDS:
            return cls(text, text, "", {}, fps)
        scheme, separator, rest = text.partition("://")
        if separator:
            place, options = _split_options(text, rest)
            return cls(text, scheme.lower(), place, options, fps)
        prefix, colon, path = text.partition(":")
        if colon and prefix in _PREFIXES:
            return cls(text, prefix, path, {}, fps)
        place, _, query = text.partition("?")
        suffix = Path(place).suffix.lower()
        if query and suffix in _SUFFIXES:
            place, options = _split_options(text, text)
            return cls(text, suffix, place, options, fps)
        # A question mark in the name of a folder is part of the name.
        suffix = Path(text).suffix.lower()
        if not suffix or (suffix not in _SUFFIXES and Path(text).is_dir()):
            return cls(text, "folder", text, {}, fps)
        return cls(text, suffix, text, {}, fps)

    @property
    def target(self) -> tuple[str, str]:
        """What two sinks must not share."""
        if self.scheme in ("folder", *_PREFIXES, *_SUFFIXES):
            return "file", str(Path(self.place).resolve())
        return self.scheme, self.place

    @property
    def is_unique(self) -> bool:
        """Whether each time something else is opened."""
        return self.scheme == "none" or self.place.endswith(":0")

    def check_options(self, known: Collection[str]) -> None:
        """Refuse options that the sink does not know.

        Raises:
            SinkError: There is one.
        """
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            raise SinkError(
                f"--sink {self.text}",
                expected=f"no option but {', '.join(sorted(known))}" if known else "no options",
                found=", ".join(unknown),
                next_step="Correct what comes behind the question mark.",
            )

    def option(self, name: str, kind: Callable[[str], T], default: T) -> T:
        """The value of an option as ``kind`` reads it, or ``default``.

        Raises:
            SinkError: It cannot be read.
        """
        if name not in self.options:
            return default
        try:
            return kind(self.options[name])
        except ValueError as error:
            raise SinkError(
                f"--sink {self.text}",
                expected=f"a number for {name}, greater than 0",
                found=repr(self.options[name]),
                next_step="Correct what comes behind the question mark.",
            ) from error


def positive(text: str) -> float:
    """A number greater than 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def host_and_port(address: Address) -> tuple[str, int]:
    """The host (without brackets) and port of ``HOST:PORT``; an IPv6 host stands in brackets.

    Raises:
        SinkError: It is not of that form.
    """
    host, _, port = address.place.rstrip("/").rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise SinkError(
            f"--sink {address.text}",
            expected=f"{address.scheme}://HOST:PORT with a port up to 65535, as {address.scheme}://127.0.0.1:8080",
            found=address.place or "nothing",
            next_step="Name host and port; 0 takes any free port.",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def warn_of_network(name: str, host: str) -> None:
    """Say once that a sink is open to the network, where it is."""
    if not is_loopback(host):
        _LOG.warning("%s shows what the camera sees to everyone who reaches this machine", name)


def wants_model_size(address: Address) -> bool:
    """Whether ``mask=model`` asks for masks of the model's size instead of the frame's, ``mask=frame``.

    Raises:
        SinkError: It is neither.
    """
    wanted = address.options.get("mask", "frame")
    if wanted not in ("frame", "model"):
        raise SinkError(
            f"--sink {address.text}",
            expected="mask=frame or mask=model",
            found=f"mask={wanted}",
            next_step="Choose the size of the frame or of the model.",
        )
    return wanted == "model"


def _split_options(text: str, rest: str) -> tuple[str, dict[str, str]]:
    place, _, query = rest.partition("?")
    try:
        return place, dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError as error:
        raise SinkError(
            f"--sink {text}",
            expected="options of the form ?name=value&name=value",
            found=repr(query),
            next_step="Correct what comes behind the question mark.",
        ) from error
