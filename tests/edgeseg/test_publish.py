"""Between the loop and one sink: events keep their place, and a mask is judged again as it is handed over."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from edgeseg.errors import UsageError
from edgeseg.loop import LoopPlan, run_loop
from edgeseg.loop.board import MOST_SINKS, Board
from edgeseg.loop.publish import Finished, Publisher
from edgeseg.loop.sinks import Figures, NoSink, Published
from toy_masks import published

FAILED = {"event": "state", "state": "FAILED", "reason": "camera: no frame for 0.6 s"}


class Slow(NoSink):
    """Keeps what it is given, in its order; the first mask waits until it is let go."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.busy, self.let_go = threading.Event(), threading.Event()

    def write(self, published: Published) -> None:
        self.given.append(published)
        self.busy.set()
        self.let_go.wait(10)

    def event(self, event: Mapping[str, Any]) -> None:
        self.given.append(event["state"])


def finished(sequence: int) -> Finished:
    mask = published(sequence, state="OK")
    return Finished(mask.segmentation, mask.position, mask.stamp, Figures())


@pytest.fixture
def board() -> Board:
    made = Board.create()
    made.tell("OK", "")
    return made


@pytest.mark.timeout(30)
def test_an_event_is_told_after_the_mask_that_was_made_before_it(board: Board) -> None:
    sink = Slow()
    publisher = Publisher(sink, board, 0, in_order=False, deadline_ms=0)
    publisher.publish(finished(1))
    assert sink.busy.wait(10)
    publisher.publish(finished(2))
    publisher.tell(FAILED)
    sink.let_go.set()
    assert publisher.finish(2, 10)
    # Whichever comes between the first mask and the second, the last word is the newest.
    assert sink.given[-1] == "FAILED"
    assert [p.stamp.sequence for p in sink.given if isinstance(p, Published)] == [1, 2]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("in_order", "valid"), [(False, False), (True, True)])
def test_what_waited_is_not_valid_once_the_loop_has_failed(board: Board, in_order: bool, valid: bool) -> None:
    sink = Slow()
    publisher = Publisher(sink, board, 0, in_order=in_order, deadline_ms=0)
    publisher.publish(finished(1))
    assert sink.busy.wait(10)
    publisher.publish(finished(2))
    board.tell("FAILED", "camera: it was unplugged")
    sink.let_go.set()
    assert publisher.finish(2, 10)
    assert [p.segmentation.valid for p in sink.given] == [True, valid]


@pytest.mark.timeout(30)
def test_a_stuck_sink_does_not_keep_a_loop_that_is_to_end(board: Board) -> None:
    sink = Slow()
    publisher = Publisher(sink, board, 0, in_order=True, deadline_ms=0)
    for sequence in (1, 2, 3):
        publisher.publish(finished(sequence))
    board.supervisor["stopping"] = 1
    publisher.publish(finished(4))  # there is no room, and nobody makes any
    sink.let_go.set()
    assert publisher.finish(3, 10)


def test_more_sinks_than_there_is_room_for_are_refused_before_anything_is_started() -> None:
    sinks = tuple(f"{index}.jsonl" for index in range(MOST_SINKS))
    with pytest.raises(UsageError, match=f"--sink: expected at most {MOST_SINKS}.*found {MOST_SINKS + 1}"):
        run_loop(LoopPlan("nowhere.edgeseg", "nothing.mp4", (*sinks, "record:events")))
