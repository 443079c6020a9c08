"""What a board filled by hand is taken for: each failure, each trouble, and an account that balances."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from edgeseg.loop.board import VIEWS, Board
from edgeseg.loop.facts import LATE_IN_A_ROW, SLOWER, Known, Watch
from edgeseg.loop.ledger import read_ledger
from edgeseg.loop.plan import Budgets, LoopPlan, SourceFacts
from edgeseg.loop.report import Mode
from edgeseg.loop.states import STATES, WAITING

MS = 1_000_000
START_NS = 1_000_000 * MS
FPS = 25.0
BUDGETS = Budgets(stall_ms=500, hang_ms=2000, deadline_ms=80)


@pytest.fixture
def board() -> Iterator[Board]:
    """Of a loop that runs, and has just had a frame."""
    made = Board.create()
    made.capture["open"] = made.inference["ready"] = 1
    made.capture["read_ns"] = made.capture["tried_ns"] = START_NS
    yield made
    os.close(made.block.fd)


def watch(board: Board, mode: Mode = "live") -> Watch:
    source = SourceFacts("camera", mode == "live", FPS, (64, 128), None, "drawn", mode)
    return Watch(board, source, BUDGETS, START_NS)


def failures(board: Board, after_ms: float = 0, mode: Mode = "live", **known: str) -> tuple[str, ...]:
    return watch(board, mode).facts(START_NS + round(after_ms * MS), Known(**known)).failures


def troubles(board: Board, mode: Mode = "live", **known: str) -> tuple[str, ...]:
    return watch(board, mode).facts(START_NS, Known(**known)).troubles


def test_nothing_is_amiss(board: Board) -> None:
    board.inference["finished"] = 7
    facts = watch(board).facts(START_NS, Known())
    assert (facts.failures, facts.troubles, facts.masks, facts.ending) == ((), (), 7, "")


def test_why_the_loop_ends_is_all_there_is_to_say(board: Board) -> None:
    board.capture["open"] = 0
    facts = watch(board).facts(START_NS, Known(ending="told to stop"))
    assert (facts.failures, facts.troubles, facts.ending) == ((), (), "told to stop")


@pytest.mark.parametrize(("after_ms", "stalled"), [(0, False), (579, False), (581, True), (3_000, True)])
def test_a_live_camera_has_stalled_two_periods_and_its_budget_after_its_last_frame(
    board: Board, after_ms: int, stalled: bool
) -> None:
    said = failures(board, after_ms)
    assert said == ((f"camera: no frame for {after_ms / 1000:.1f} s",) if stalled else ())
    assert failures(board, after_ms, "real-time") == ()
    assert failures(board, after_ms, "every-frame") == ()


def test_before_the_loop_began_nobody_waited_for_frames(board: Board) -> None:
    board.capture["read_ns"] = START_NS - 60_000 * MS
    assert failures(board, 579) == ()
    assert failures(board, 581) != ()


def test_a_camera_whose_frames_are_all_damaged_has_stalled_but_is_not_silent(board: Board) -> None:
    now_ns = START_NS + 3_000 * MS
    board.capture["tried_ns"] = now_ns
    assert watch(board).stalled_ms(now_ns) == pytest.approx(3_000 - 80)
    assert watch(board).silent_ms(now_ns) == pytest.approx(-80)


@pytest.mark.parametrize("mode", ["live", "real-time"])
def test_a_source_that_has_ended_is_not_waited_for(board: Board, mode: Mode) -> None:
    board.capture["ended"], board.capture["open"] = 1, 0
    assert failures(board, 60_000, mode) == ()


def test_a_camera_that_is_not_open(board: Board) -> None:
    board.capture["open"] = 0
    assert failures(board) == ("camera: opening it again",)
    assert failures(board, source_error="it was unplugged") == ("camera: it was unplugged",)
    assert failures(board, mode="real-time") == ()


@pytest.mark.parametrize("view", VIEWS[1:])
def test_a_picture_that_shows_nothing(board: Board, view: str) -> None:
    board.capture["view"], board.capture["view_since_ns"] = VIEWS.index(view), START_NS - 1_500 * MS
    assert failures(board) == (f"camera: the picture is {view}, for 1.5 s",)


def test_processes_that_ended(board: Board) -> None:
    assert failures(board, capture_ended="SIGSEGV") == ("camera: its process ended (SIGSEGV)",)
    (said,) = failures(board, inference_ended="no answer for 2.0 s")
    assert said == "inference: its process ended (no answer for 2.0 s), starting another"
    assert troubles(board, sinks_ended="SIGKILL") == ("sinks: their process ended (SIGKILL)",)


def test_a_model_that_loads_is_waited_for(board: Board) -> None:
    board.inference["ready"] = 0
    assert failures(board) == (f"{WAITING}the model to load",)


@pytest.mark.parametrize(("busy_ms", "hung"), [(0, False), (1_999, False), (2_001, True)])
@pytest.mark.parametrize("mode", ["live", "real-time", "every-frame"])
def test_inference_hangs_after_its_budget(board: Board, busy_ms: int, hung: bool, mode: Mode) -> None:
    board.inference["busy_since_ns"] = START_NS - busy_ms * MS if busy_ms else 0
    said = failures(board, mode=mode)
    assert said == ((f"inference: no answer for {busy_ms / 1000:.1f} s",) if hung else ())
    assert watch(board).hung_ms(START_NS) == busy_ms


def test_one_frame_may_fail_and_two_in_a_row_are_a_failure(board: Board) -> None:
    board.inference["failed_in_a_row"] = 1
    assert failures(board) == ()
    board.inference["failed_in_a_row"] = 2
    assert failures(board) == ("inference: 2 frames failed in a row",)


def test_the_camera_is_named_before_the_model(board: Board) -> None:
    board.capture["open"], board.inference["failed_in_a_row"] = 0, 3
    camera, inference = failures(board)
    assert camera.startswith("camera: ")
    assert inference.startswith("inference: ")


def test_masks_that_are_late_in_a_row(board: Board) -> None:
    board.inference["late_in_a_row"], board.inference["age_ms"] = LATE_IN_A_ROW - 1, 95
    assert troubles(board) == ()
    board.inference["late_in_a_row"] = LATE_IN_A_ROW
    assert troubles(board) == ("masks are late: 95 ms old, deadline 80 ms",)
    assert troubles(board, "every-frame") == (), "its frames wait"


def test_inference_that_is_slower_than_at_first(board: Board) -> None:
    board.inference["slowdown"] = SLOWER - 0.01
    assert troubles(board) == ()
    board.inference["slowdown"] = 2.5
    assert troubles(board) == ("inference is 2.5 times slower than at first",)
    assert troubles(board, "every-frame") == ()


@pytest.mark.parametrize("name", ["corrupt", "lost", "duplicate", "reordered"])
def test_what_is_wrong_with_more_than_a_tenth_of_a_seconds_frames(board: Board, name: str) -> None:
    looks = watch(board)
    assert looks.facts(START_NS, Known()).troubles == ()
    board.capture[name] = 2
    assert looks.facts(START_NS + 500 * MS, Known()).troubles == ()
    board.capture[name] = 3
    (said,) = looks.facts(START_NS + 900 * MS, Known()).troubles
    assert said.startswith("camera: 3 frame(s)" if name != "corrupt" else "camera: 3 damaged frame(s)")
    for after_ms in range(1_000, 2_000, 10):
        last = looks.facts(START_NS + after_ms * MS, Known()).troubles
    assert last == (), "it is forgotten within a second"


def test_every_frame_on_which_inference_fails_is_told(board: Board) -> None:
    looks = watch(board)
    looks.facts(START_NS, Known())
    board.inference["failed"] = 1
    assert looks.facts(START_NS + MS, Known()).troubles == ("inference: 1 frame(s) failed in a second",)


def test_sinks_that_failed(board: Board) -> None:
    board.sink(0)["failed"] = board.sink(2)["failed"] = 1
    assert troubles(board) == ("2 sink(s) failed",)


def test_what_it_has_seen_takes_no_more_memory_with_time(board: Board) -> None:
    looks = watch(board)
    for tick in range(3_000):
        looks.facts(START_NS + tick * 10 * MS, Known())
    assert len(looks._past) <= 102


# The account.


def test_every_frame_has_one_fate(board: Board) -> None:
    capture: dict[str, int] = {"corrupt": 3, "duplicate": 4, "reordered": 5, "published": 88}
    inference = {"passed": 20, "taken": 66, "finished": 50, "failed": 6, "stale": 8, "torn": 1, "late": 7}
    fill(board.capture, {**capture, "read": 100, "lost": 9, "skipped": 2})
    fill(board.inference, inference)
    ledger = read_ledger(board)
    assert (ledger.captured, ledger.inferred, ledger.failed, ledger.stale) == (100, 50, 6, 8)
    assert ledger.unusable == 3 + 4 + 5
    # One frame is in hand. Of two that wait for inference the older has been overwritten already.
    assert (ledger.overwritten, ledger.in_flight) == (20 + 1 + 1, 2)
    assert balance(ledger.to_dict()) == 0
    assert (ledger.lost, ledger.skipped, ledger.late) == (9, 2, 7)
    assert ledger.dropped == ledger.overwritten + 8 + 2


def test_what_waits_while_inference_hangs_is_counted_as_overwritten(board: Board) -> None:
    fill(board.inference, {"taken": 1})
    for published in range(1, 400):
        fill(board.capture, {"read": published, "published": published})
        ledger = read_ledger(board)
        assert balance(ledger.to_dict()) == 0
        assert ledger.in_flight <= 2, "one in hand, and the newest"
    assert ledger.overwritten == 397


def fill(section: Any, values: dict[str, int]) -> None:
    for name, value in values.items():
        section[name] = value


def balance(ledger: dict[str, int]) -> int:
    fates = ("inferred", "overwritten", "stale", "failed", "unusable", "in_flight")
    return ledger["captured"] - sum(ledger[fate] for fate in fates)


# What the processes share.


def test_what_one_process_writes_on_the_board_another_reads(board: Board) -> None:
    other = Board.attach(board.block.fd)
    board.tell("DEGRADED", "masks are late: 95 ms – deadline 80 ms")
    assert (other.state, other.reason) == ("DEGRADED", "masks are late: 95 ms – deadline 80 ms")
    board.durations("age").add(12.5)
    board.sink_age(3).add(7)
    assert other.durations("age").summary().max == 12.5
    assert other.durations("infer").summary().count == 0
    assert [other.sink_age(index).summary().count for index in (2, 3, 4)] == [0, 1, 0]
    for state in STATES:
        board.tell(state, "é" * 500)
        assert other.state == state
        assert set(other.reason) == {"é"}, "cut off between two characters, not within one"


def test_a_plan_travels_as_json() -> None:
    from edgeseg.camera import Wanted

    plan = LoopPlan(
        "b", "0", ("a.mp4", "-"), wanted=Wanted((720, 1280), 30, "MJPG"), budgets=BUDGETS, trusted_keys=("k",)
    )
    assert LoopPlan.from_json(plan.to_json()) == plan
    assert LoopPlan.from_json(LoopPlan("b", "0").to_json()) == LoopPlan("b", "0")
