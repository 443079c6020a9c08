"""Whether inference grows slower: a chip that heats up, or an accelerator that is lost without a word."""

from __future__ import annotations

import numpy as np

FIRST = 30
"""Inferences whose median is what later ones are held against."""
RECENT = 15
"""Inferences whose median is held against it."""
NOTICED_MS = 2.0
"""Milliseconds that it must be slower by: a tiny model doubles its time whenever anything else runs."""


class Slowdown:
    """How many times slower inference is than it was at first. It keeps two short lists and no more."""

    def __init__(self) -> None:
        self._first = np.zeros(FIRST)
        self._recent = np.zeros(RECENT)
        self._seen = 0
        self._usual = 0.0

    def update(self, milliseconds: float) -> float:
        """Take in one inference; the ratio, 1.0 until there is something to compare."""
        self._recent[self._seen % RECENT] = milliseconds
        if self._seen < FIRST:
            self._first[self._seen] = milliseconds
        self._seen += 1
        if self._seen == FIRST:
            self._usual = float(np.median(self._first))
        if self._seen < FIRST + RECENT or self._usual <= 0:
            return 1.0
        recent = float(np.median(self._recent))
        return recent / self._usual if recent - self._usual > NOTICED_MS else 1.0
