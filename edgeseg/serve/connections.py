"""HTTP connections that keep clients to their time: uvicorn's own, with the timers that it lacks.

uvicorn waits for ever for the rest of a request's head, and for a client to take its answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgeseg.serve.limits import Limits

_DISCARD_SECONDS = 2.0


def guarded_protocol(limits: Limits) -> type[H11Protocol]:
    """The class of connections for a service with these limits."""

    class Guarded(GuardedProtocol):
        most_connections = limits.connections
        client_seconds = limits.client_seconds

    return Guarded


class GuardedProtocol(H11Protocol):
    """A connection that ends where a client is too slow, or one too many.

    Attributes:
        most_connections: Of the whole service.
        client_seconds: For the head of a request, and for taking what was written.
    """

    most_connections: int
    client_seconds: float

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._answer_due: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        # Whatever is not taken by the system at once counts as not taken.
        transport.set_write_buffer_limits(high=0)
        self._start("head", self.client_seconds)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            # The rest of an answered body has come, or the beginning of a head.
            self._cancel("discard")
            self._start("head", self.client_seconds)
        else:
            self._cancel("head")

    def on_response_complete(self) -> None:
        self._answer_due = None
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            # Refused before all of it came. A client that still sends would not see the answer if the
            # connection ended now; what it sends is thrown away, for so long.
            self._start("discard", _DISCARD_SECONDS)

    def pause_writing(self) -> None:
        super().pause_writing()
        # One time for the whole answer: who takes a little now and then gets no more of it.
        now = self.loop.time()
        self._answer_due = self._answer_due or now + self.client_seconds
        self._start("write", max(self._answer_due - now, 0.0))

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel("write")

    def connection_lost(self, exc: Exception | None) -> None:
        for name in list(self._timers):
            self._cancel(name)
        super().connection_lost(exc)

    def _start(self, name: str, seconds: float) -> None:
        if name not in self._timers:
            self._timers[name] = self.loop.call_later(seconds, self.transport.abort)

    def _cancel(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
