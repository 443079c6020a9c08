"""Says the same thing once a second at most, however often it happens, and then how often it did."""

from __future__ import annotations

from collections.abc import Callable

_PERIOD_NS = 1_000_000_000
_MOST_KEYS = 1000


class OncePerSecond:
    """Gives texts on; of those with one key at most one a second, the next one with the number left out."""

    def __init__(self, give: Callable[[str], None]) -> None:
        self._give = give
        self._last: dict[str, tuple[int, int]] = {}
        self._left_out: dict[str, str] = {}

    def say(self, key: str, text: str, now_ns: int) -> None:
        """Give ``text`` on, or count it."""
        last_ns, left_out = self._last.get(key, (now_ns - _PERIOD_NS, 0))
        if now_ns - last_ns < _PERIOD_NS:
            self._last[key] = (last_ns, left_out + 1)
            self._left_out[key] = text
            return
        if len(self._last) >= _MOST_KEYS:
            self._last.clear()
            self._left_out.clear()
        self._last[key] = (now_ns, 0)
        self._left_out.pop(key, None)
        self._give(f"{text} (and {left_out} more like it)" if left_out else text)

    def settle(self, now_ns: int) -> None:
        """Give on what was counted, once a second without anything new has made it the last of its kind."""
        for key, text in [*self._left_out.items()]:
            last_ns, left_out = self._last[key]
            if now_ns - last_ns >= _PERIOD_NS:
                self._last[key] = (now_ns, 0)
                del self._left_out[key]
                others = f" (and {left_out - 1} more like it)" if left_out > 1 else ""
                self._give(f"{text}{others}")
