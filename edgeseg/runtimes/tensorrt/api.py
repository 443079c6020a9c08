"""The TensorRT that is installed: JetPack's and the PC's ``tensorrt``, or ``tensorrt_rtx``, by one interface.

Only what TensorRT 10.3, 11 and RTX 1.7 have in common is used; the tests hold the names against each.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from edgeseg.errors import MissingExtraError

FLAVOURS = ("tensorrt", "tensorrt_rtx")
"""Modules; the first that is new enough and can be imported is used."""
OLDEST = (10, 3)
"""Of the flavour ``tensorrt``: the first with everything that is used here, and that of JetPack 6.1."""

_log = logging.getLogger(__name__)
_KEPT_MESSAGES = 20
_ERRORS = (0, 1)  # INTERNAL_ERROR, ERROR


@dataclass(frozen=True)
class Api:
    """An imported TensorRT.

    Args:
        module: The module.
        flavour: Which of ``FLAVOURS`` it is.
        version: Its version.
        messages: What it says; one of these for each process, because TensorRT keeps to its first logger.
    """

    module: Any
    flavour: str
    version: str
    messages: Messages

    @classmethod
    def of(cls, module: Any, flavour: str) -> Api:
        """An imported module of that flavour."""
        return cls(module, flavour, str(module.__version__), Messages(module))

    @property
    def has_timing_cache(self) -> bool:
        """RTX compiles when an engine is loaded: it measures nothing while it builds."""
        return self.flavour == "tensorrt"


def installed_flavour() -> str | None:
    """The first of ``FLAVOURS`` that is there and, as its package tells, new enough; none is imported."""
    for name in FLAVOURS:
        if _is_there(name) and not _is_old(name, _packaged_version(name)):
            return name
    return None


def installed_version() -> str | None:
    """The version of what :func:`import_api` gives, imported only where no package tells it."""
    flavour = installed_flavour()
    version = flavour and _packaged_version(flavour)
    if flavour is None or version is None:
        try:
            api = import_api()
        except MissingExtraError:
            return None
        flavour, version = api.flavour, api.version
    return version if flavour == "tensorrt" else f"{version} (RTX)"


def import_api() -> Api:
    """Import the first flavour that can be used.

    Raises:
        MissingExtraError: None is installed, or none imports and is not older than ``OLDEST``.
    """
    problems = []
    for flavour in filter(_is_there, FLAVOURS):
        # Two in one process may not get on: what its package calls too old is not imported.
        version = _packaged_version(flavour)
        if not _is_old(flavour, version):
            try:
                api = _imported(flavour)
            except (ImportError, OSError) as error:
                problems.append(f"{flavour}, which does not import ({error})")
                continue
            version = api.version
            if not _is_old(flavour, version):
                return api
        problems.append(f"version {version}")
    raise _missing(", and ".join(problems) or "it is not installed")


@cache
def _imported(flavour: str) -> Api:
    return Api.of(importlib.import_module(flavour), flavour)


class Messages:
    """What TensorRT said: the last errors are kept for the messages of ours, all goes to the log.

    Attributes:
        logger: What TensorRT is given.
    """

    def __init__(self, module: Any) -> None:
        self._errors: list[str] = []
        self.logger = _logger_class(module)(self._take)

    def errors(self) -> str:
        """The errors since the last call, joined; empty where there were none."""
        said, self._errors = "; ".join(self._errors), []
        return said

    def _take(self, severity: int, text: str) -> None:
        _log.debug("TensorRT: %s", text)
        if severity in _ERRORS:
            self._errors = [*self._errors, text.strip()][-_KEPT_MESSAGES:]


def _logger_class(module: Any) -> Any:
    # Made here because its base is known only once TensorRT has been imported.
    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self, take: Any) -> None:
            module.ILogger.__init__(self)
            self._take = take

        def log(self, severity: Any, text: str) -> None:
            self._take(int(severity), text)

    return Logger


def _is_there(flavour: str) -> bool:
    spec = importlib.util.find_spec(flavour)
    return spec is not None and spec.origin is not None


def _packaged_version(flavour: str) -> str | None:
    try:
        return metadata.version(flavour)
    except metadata.PackageNotFoundError:
        return None


def _is_old(flavour: str, version: str | None) -> bool:
    return flavour == "tensorrt" and version is not None and _number(version) < OLDEST


def _number(version: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _missing(found: str) -> MissingExtraError:
    return MissingExtraError(
        "runtime 'tensorrt'",
        expected=f"TensorRT {OLDEST[0]}.{OLDEST[1]} or later for Python, or TensorRT-RTX",
        found=found,
        next_step="On a Jetson install JetPack 6.1 or later with python3-libnvinfer, and make virtual "
        "environments with --system-site-packages; 'edgeseg info' says what else is missing.",
    )
