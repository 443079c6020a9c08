"""Faults that a test sets off in another process at the moment it chooses: orders in a file, by the clock."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

LEAD_S = 0.3
"""An order is written so long before it holds, that its reader has seen it by then."""


@dataclass(frozen=True)
class Order:
    """A fault from ``begin_ns`` to before ``end_ns`` on the clock of ``time.monotonic_ns``.

    ``once`` is the number of times it happens at most, in one process; 0: as often as it can.
    """

    kind: str
    begin_ns: int
    end_ns: int
    once: int = 0

    def holds_at(self, now_ns: int) -> bool:
        return self.begin_ns <= now_ns < self.end_ns


class Script:
    """The file of orders. It is replaced as a whole, so that a reader never sees half of it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def order(self, kind: str, seconds: float, *, once: int = 0, lead: float = LEAD_S) -> Order:
        """Have a fault begin ``lead`` seconds from now."""
        begin_ns = time.monotonic_ns() + round(lead * 1e9)
        order = Order(kind, begin_ns, begin_ns + round(seconds * 1e9), once)
        self._write([*self.orders(), order])
        return order

    def end(self) -> int:
        """End all of them now; when that was."""
        now_ns = time.monotonic_ns()
        self._write([Order(o.kind, o.begin_ns, min(o.end_ns, now_ns), o.once) for o in self.orders()])
        return now_ns

    def forget(self) -> None:
        """Leave out those that are over for long, so that the file stays small over a long run."""
        before_ns = time.monotonic_ns() - 10_000_000_000
        self._write([o for o in self.orders() if o.end_ns > before_ns])

    def orders(self) -> list[Order]:
        """All of them, the first given first."""
        try:
            lines = self._path.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [Order(kind, *map(int, numbers)) for kind, *numbers in map(str.split, lines)]

    def _write(self, orders: list[Order]) -> None:
        text = "".join(f"{o.kind} {o.begin_ns} {o.end_ns} {o.once}\n" for o in orders)
        staged = self._path.with_suffix(".new")
        staged.write_text(text)
        os.replace(staged, self._path)  # noqa: PTH105 - one step, as Path.replace, and said so
