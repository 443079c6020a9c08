"""How much a service takes on at once."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseg.runtimes.choice import available_cores

_MOST_DEFAULT_SLOTS = 4
_BODIES_AT_ONCE = 8


@dataclass(frozen=True)
class Limits:
    """Bounds that no client can move.

    Args:
        slots: Pictures that are worked on at once; each slot has an instance of every model.
        queue: Pictures that may wait for a slot; who comes beyond them is told so at once.
        body_bytes: The longest request body.
        pixels: The most pixels of a picture, told by its header before anything is decoded.
        connections: Clients that may be connected; who comes beyond them is let go without an answer.
        client_seconds: How long a client may take to send its request, and again to take its answer.
        stop_seconds: How long the end may take.
    """

    slots: int
    queue: int = 32
    body_bytes: int = 16 << 20
    pixels: int = 9_000_000
    connections: int = 512
    client_seconds: float = 30.0
    stop_seconds: float = 10.0

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies and answers that may be held at once, of all clients together."""
        return _BODIES_AT_ONCE * self.body_bytes


def default_slots() -> int:
    """A slot for each core that this process may use, up to 4."""
    return min(available_cores(), _MOST_DEFAULT_SLOTS)
