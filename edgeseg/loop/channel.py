"""How frames go from one thread of the loop to the next."""

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
        self.overwritten = 0

    def put(self, item: T) -> None:
        """Add an item.

        Raises:
            ChannelClosedError: The channel was closed.
        """
        with self._changed:
            self._make_room()
            if self._closed:
                raise ChannelClosedError
            self._items.append(item)
            self._changed.notify_all()

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

    def _make_room(self) -> None:
        self._changed.wait_for(lambda: len(self._items) < self._capacity or self._closed)


class Mailbox(Channel[T]):
    """The newest ``capacity`` items: when it is full a new one takes the oldest one's place.

    ``overwritten`` counts those that nobody took.
    """

    def __init__(self, capacity: int = 1) -> None:
        super().__init__(capacity)

    def _make_room(self) -> None:
        while len(self._items) >= self._capacity:
            self._items.popleft()
            self.overwritten += 1
