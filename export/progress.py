"""How the long steps of an export say how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int, int], None]
"""Called with (finished, total) as work goes on."""

Stage = Callable[[str], AbstractContextManager[Advance]]
"""Called with the name of a step; the block is the step."""


def ignore(finished: int, total: int) -> None:
    """An :data:`Advance` that tells nobody."""


@contextmanager
def silent(_description: str) -> Iterator[Advance]:
    """A :data:`Stage` that tells nobody."""
    yield ignore
