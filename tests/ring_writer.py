"""Writes pictures of one level into a ring until it is killed; a test starts it as a script."""

from __future__ import annotations

import json
import sys

from edgeseg.loop.ring import Ring, RingLayout, RingWriter

LAYOUT = RingLayout((("level", "i8"),), (("picture", 200_000),))
SHAPE = (200, 1000)


def write(fds: tuple[int, ...]) -> None:
    ring = Ring.attach(LAYOUT, fds)
    writer = RingWriter(ring)
    while True:
        with writer.slot() as slot:
            # The ring's own number of it decides its pixels, whichever process writes it.
            level = (writer.sequence + 1) % 251
            slot.payload("picture", SHAPE)[:] = level
            slot.fields["level"] = level


if __name__ == "__main__":
    write(tuple(json.loads(sys.argv[1])))
