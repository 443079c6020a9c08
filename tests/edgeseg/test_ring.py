"""Pictures through shared memory: the newest wins, none comes twice or torn, who is killed is replaced."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import ring_writer
from edgeseg.loop.channel import ChannelClosedError
from edgeseg.loop.ring import SLOTS, Ring, RingLayout, RingReader, RingWriter, Taken

LAYOUT = RingLayout((("number", "i8"), ("share", "f8")), (("picture", 600), ("mask", 5000)))


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring.create("test", LAYOUT)
    yield made
    release(made)


def release(ring: Ring) -> None:
    for fd in ring.fds:
        os.close(fd)


def put(writer: RingWriter, number: int) -> None:
    with writer.slot() as slot:
        slot.payload("picture", (10, 20, 3))[:] = number % 256
        slot.payload("mask", (10, 20))[:] = number % 7
        slot.fields.update(number=number, share=number / 2)


def number_in(taken: Taken | None) -> int:
    """Checked against everything else that was written with it."""
    assert taken is not None
    number: int = taken.fields["number"]
    assert taken.fields["share"] == number / 2
    assert (taken.payload("picture", (10, 20, 3)) == number % 256).all()
    assert (taken.payload("mask", (10, 20)) == number % 7).all()
    assert taken.intact
    return number


def test_what_is_written_is_read(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    assert (writer.sequence, reader.take(0)) == (0, None)
    for number in range(1, 20):
        put(writer, number)
        taken = reader.take(0)
        assert number_in(taken) == number
        assert taken is not None
        assert (taken.sequence, taken.passed) == (number, 0)


def test_the_newest_wins_and_what_it_passed_is_counted(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    taken_of: list[tuple[int, int]] = []
    for burst in (1, 3, 2, 9, 1):
        for _ in range(burst):
            put(writer, writer.sequence + 1)
        taken = reader.take(0)
        assert taken is not None
        taken_of.append((number_in(taken), taken.passed))
        assert reader.take(0) is None, "nothing is taken twice"
    assert taken_of == [(1, 0), (4, 2), (6, 1), (15, 8), (16, 0)]
    assert len(taken_of) + sum(passed for _, passed in taken_of) == writer.sequence


def test_what_the_reader_holds_is_never_written_over(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    put(writer, 5)
    held = reader.take(0)
    for number in range(100, 100 + 5 * SLOTS):
        put(writer, number)
        assert number_in(held) == 5
    assert number_in(reader.take(0)) == 99 + 5 * SLOTS


def test_a_slot_that_could_not_be_filled_is_not_published(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    put(writer, 1)
    with pytest.raises(RuntimeError), writer.slot() as slot:
        slot.payload("picture", (10, 20, 3))[:] = 9
        raise RuntimeError
    assert number_in(reader.take(0)) == 1
    assert reader.take(0) is None
    put(writer, 2)
    assert number_in(reader.take(0)) == 2


def test_it_is_closed_only_after_the_last_was_taken(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    put(writer, 1)
    writer.close()
    assert number_in(reader.take(0)) == 1
    for _ in range(2):
        with pytest.raises(ChannelClosedError):
            reader.take(10)


def test_closed_without_anything_in_it(ring: Ring) -> None:
    RingWriter(ring).close()
    with pytest.raises(ChannelClosedError):
        RingReader(ring).take(10)


def test_who_waits_is_woken(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    began = time.monotonic()
    threading.Timer(0.1, put, (writer, 1)).start()
    assert number_in(reader.take(30)) == 1
    threading.Timer(0.1, writer.close).start()
    with pytest.raises(ChannelClosedError):
        reader.take(30)
    assert 0.1 <= time.monotonic() - began < 20


def test_who_waits_in_vain_is_told_in_time(ring: Ring) -> None:
    began = time.monotonic()
    assert RingReader(ring).take(0.1) is None
    assert time.monotonic() - began >= 0.1


def test_a_writer_can_wait_until_the_last_was_taken(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    assert writer.wait_taken(0), "nothing was published yet"
    put(writer, 1)
    assert not writer.wait_taken(0.05)
    threading.Timer(0.1, reader.take, (0,)).start()
    assert writer.wait_taken(30)
    put(writer, 2)
    assert not writer.wait_taken(0)


def test_a_writer_killed_in_the_middle_of_a_slot_is_replaced(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    put(writer, 1)
    held = reader.take(0)
    put(writer, 2)
    abandoned = writer.slot()  # kept to the end, or it would be closed well
    slot = abandoned.__enter__()
    slot.payload("picture", (10, 20, 3))[:] = 77
    assert (ring.records["guard"] % 2).sum() == 1
    assert number_in(reader.take(0)) == 2, "a slot that is being written is not the newest"
    successor = RingWriter(ring)
    assert not (ring.records["guard"] % 2).any()
    assert successor.sequence == 2
    for number in range(3, 3 + 2 * SLOTS):
        put(successor, number)
        taken = reader.take(0)
        assert number_in(taken) == number
        assert taken is not None
        assert (taken.sequence, taken.passed) == (number, 0)
    assert held is not None
    assert not held.intact, "it was let go of"
    del abandoned


def test_a_reader_started_anew_goes_on_with_the_newest(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    put(writer, 1)
    held = reader.take(0)
    assert held is not None
    successor = RingReader(ring)
    assert successor.take(0) is None, "what the dead one had taken does not come again"
    for number in range(2, 5):
        put(writer, number)
    taken = successor.take(0)
    assert taken is not None
    assert (number_in(taken), taken.passed) == (4, 2)
    put(writer, 5)
    assert not held.intact, "nobody holds it for the dead"


def test_what_is_written_over_is_seen_to_be_torn(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)
    put(writer, 1)
    taken = reader.take(0)
    assert taken is not None
    ring.control["held"] = -1  # as if the writer had not seen in time that it is held
    for number in range(2, SLOTS + 1):
        put(writer, number)
    assert taken.intact
    with writer.slot() as slot:
        slot.payload("mask", (10, 20))[:] = 0
        assert not taken.intact, "from the first moment"
    assert not taken.intact


def test_pictures_of_another_name_are_refused(ring: Ring) -> None:
    with pytest.raises(KeyError), RingWriter(ring).slot() as slot:
        slot.payload("confidence", (1, 1))


@pytest.mark.timeout(120)
def test_two_processes_and_a_writer_that_is_killed_again_and_again() -> None:
    """No picture that is accepted is torn, none comes twice, and numbers go on over every death."""
    ring = Ring.create("test", ring_writer.LAYOUT)
    reader, chance = RingReader(ring), random.Random(3)
    accepted = passed = 0
    for _ in range(3):
        process = _start_writer(ring)
        until, first = time.monotonic() + 30, accepted
        end = until
        while time.monotonic() < end:
            taken = reader.take(0.05)
            if taken is None:
                continue
            if accepted == first:  # it runs: it is killed in the midst of it
                end = time.monotonic() + 0.5 + chance.random() / 10
            copy = taken.payload("picture", ring_writer.SHAPE).copy()
            assert taken.intact, "the writer leaves alone what is held"
            assert taken.fields["level"] == taken.sequence % 251
            assert (copy == taken.fields["level"]).all(), f"picture {taken.sequence} is torn"
            accepted, passed = accepted + 1, passed + taken.passed
            assert accepted + passed == taken.sequence
        process.kill()
        process.wait()
        assert accepted > first, "nothing came"
    assert passed > 0, "the reader was never overtaken, so nothing was proven"
    release(ring)


@pytest.mark.timeout(120)
def test_a_reader_that_dies_and_a_writer_that_goes_on() -> None:
    """Readers come and go: each may find what it reads written over, and each can know it."""
    ring = Ring.create("test", ring_writer.LAYOUT)
    process = _start_writer(ring)
    try:
        last = accepted = 0
        deadline = time.monotonic() + 30
        while accepted < 200 and time.monotonic() < deadline:
            taken = RingReader(ring).take(0.05)
            if taken is None:
                continue
            assert taken.sequence > last
            last = taken.sequence
            copy = taken.payload("picture", ring_writer.SHAPE).copy()
            if taken.intact:
                accepted += 1
                assert (copy == taken.fields["level"]).all(), f"picture {taken.sequence} is torn"
        assert accepted == 200
    finally:
        process.kill()
        process.wait()
        release(ring)


def test_ten_thousand_frames_take_no_descriptor_and_no_memory(ring: Ring) -> None:
    writer, reader = RingWriter(ring), RingReader(ring)

    def frames(count: int) -> None:
        for number in range(count):
            put(writer, number)
            if number % 3:
                reader.take(0)

    frames(100)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    tracemalloc.start()
    frames(1_000)
    before, _ = tracemalloc.get_traced_memory()
    frames(10_000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 10_000, "less than a byte a frame"
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_a_ring_takes_memory_only_for_what_is_used() -> None:
    from edgeseg.loop.plan import MASKS

    ring = Ring.create("test", MASKS)
    writer = RingWriter(ring)
    with writer.slot() as slot:
        slot.payload("mask", (720, 1280))[:] = 1
    used = os.fstat(ring.block.fd).st_blocks * 512
    assert 720 * 1280 <= used < 2 * 720 * 1280 + ring.layout.header_bytes
    assert ring.layout.size > 100e6
    assert np.count_nonzero(ring.payload(0, "mask", (720, 1280))) == 720 * 1280
    release(ring)


def _start_writer(ring: Ring) -> subprocess.Popen[bytes]:
    script = Path(ring_writer.__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, script, json.dumps(ring.fds)], pass_fds=ring.fds, env=environment
    )
