"""The bundles that a service has, each by a name and with an instance for every slot."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeseg.bundle import Bundle
from edgeseg.errors import UsageError
from edgeseg.segmenter import Segmenter, load

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


@dataclass(frozen=True)
class Loading:
    """How models are loaded: as :func:`edgeseg.segmenter.load` takes it."""

    runtime: str | None = None
    precision: str | None = None
    threads: int | None = None
    trusted_keys: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Model:
    """A bundle with its name in the service, and an instance of its model for each slot."""

    name: str
    instances: tuple[Segmenter, ...]

    @property
    def any(self) -> Segmenter:
        """One of the instances, for what all of them have in common."""
        return self.instances[0]


def load_models(named: Sequence[str], slots: int, loading: Loading, stack: ExitStack) -> dict[str, Model]:
    """Open every bundle, then load ``slots`` instances of each; ``stack`` closes them.

    Args:
        named: ``PATH``, which is named as its manifest names it, or ``NAME=PATH``.

    Raises:
        UsageError: Two have the same name, or a name cannot stand in an address.
        BundleError: As :func:`edgeseg.segmenter.load` raises it, and with it every other error of loading.
    """
    opened: dict[str, Bundle] = {}
    for text in named:
        name, bundle = _open(text, loading)
        if name in opened:
            raise UsageError(
                text,
                expected="bundles of different names",
                found=f"{name} twice, the other at {opened[name].path}",
                next_step=f"Give one of them another name: other-{name}={bundle.path}",
            )
        opened[name] = bundle
    return {name: Model(name, _instances(bundle, slots, loading, stack)) for name, bundle in opened.items()}


def _open(text: str, loading: Loading) -> tuple[str, Bundle]:
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        name, path = "", text
    bundle = Bundle.open(path, loading.trusted_keys or None)
    name = name or bundle.manifest.name
    if not re.fullmatch(_NAME, name):
        raise UsageError(
            text,
            expected="a name of letters, digits, dots, dashes and underscores, at most 100, for the address",
            found=repr(name),
            next_step=f"Name it: NAME={path}",
        )
    return name, bundle


def _instances(bundle: Bundle, slots: int, loading: Loading, stack: ExitStack) -> tuple[Segmenter, ...]:
    return tuple(
        stack.enter_context(
            load(
                bundle,
                runtime=loading.runtime,
                precision=loading.precision,
                threads=loading.threads,
                # A model file that crashes its runtime is found with the first.
                isolate=index == 0,
            )
        )
        for index in range(slots)
    )
