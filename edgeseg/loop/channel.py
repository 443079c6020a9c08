"""How masks go from one thread of the sinks' process to the next."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The channel was closed and holds nothing any more."""


class Channel(Generic[T]):
    """Up to ``capacity`` items in order; who puts waits for room. Nothing is lost."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T, timeout: float | None = None) -> bool:
        """Add an item; whether there was room for it within ``timeout`` seconds.

        Raises:
            ChannelClosedError: The channel was closed.
        """
        with self._changed:
            there_is_room = self._make_room(timeout)
            if self._closed:
                raise ChannelClosedError
            if there_is_room:
                self._items.append(item)
                self._changed.notify_all()
            return there_is_room

    def take(self, timeout: float | None = None) -> T | None:
        """The oldest item, or ``None`` when ``timeout`` seconds have passed without one.

        Raises:
            ChannelClosedError: Nothing is left and nothing will come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._closed:
                raise ChannelClosedError
            return None

    def close(self) -> None:
        """No more items: what is in it can still be taken. Closing twice is harmless."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _make_room(self, timeout: float | None) -> bool:
        return self._changed.wait_for(lambda: len(self._items) < self._capacity or self._closed, timeout)


class Mailbox(Channel[T]):
    """The newest item: a new one takes its place."""

    def __init__(self) -> None:
        super().__init__(1)

    def _make_room(self, _timeout: float | None) -> bool:
        self._items.clear()
        return True
