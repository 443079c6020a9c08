"""States by hand-made timelines, what is said about them, and when inference counts as slower."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgeseg.loop.said import OncePerSecond
from edgeseg.loop.slowdown import FIRST, NOTICED_MS, RECENT, Slowdown
from edgeseg.loop.states import DEGRADED_AFTER_NS, DEGRADED_UNTIL_NS, GOOD_MASKS, WAITING, Facts, StateMachine

MS = 1_000_000
LOADING = (f"{WAITING}the model to load",)
STALLED, SLOW = ("camera: no frame for 0.6 s",), ("masks are late",)


class Timeline:
    """A state machine that is told facts every 10 ms, with a mask each 30 ms unless something fails."""

    def __init__(self) -> None:
        self.now_ns, self.masks = 5_000 * MS, 0
        self.machine = StateMachine(self.now_ns)
        self.changes: list[tuple[int, str, str]] = []
        self._since_mask = 0

    def go(
        self,
        milliseconds: int,
        failures: tuple[str, ...] = (),
        troubles: tuple[str, ...] = (),
        *,
        masks: bool = True,
    ) -> Timeline:
        for _ in range(milliseconds // 10):
            self._since_mask = self._since_mask + 10 if masks else 0
            if self._since_mask >= 30:
                self.masks, self._since_mask = self.masks + 1, 0
            change = self.machine.update(self.now_ns, Facts(failures, troubles, self.masks))
            if change is not None:
                assert (change.after, change.reason) == (self.machine.state, self.machine.reason)
                assert self.machine.since_ns == change.at_ns == self.now_ns
                self.changes.append((self.now_ns // MS - 5_000, change.after, change.reason))
            self.now_ns += 10 * MS
        return self

    @property
    def state(self) -> str:
        return self.machine.state

    @property
    def states(self) -> list[str]:
        return [state for _, state, _ in self.changes]


def test_starting_waits_for_the_model_and_for_good_masks() -> None:
    line = Timeline().go(2_000, LOADING, masks=False)
    assert (line.state, line.machine.reason) == ("STARTING", LOADING[0])
    line.go(500, masks=False)
    assert line.state == "STARTING", "no mask yet"
    line.go(300)
    assert line.changes == [(2_500 + 30 * GOOD_MASKS - 10, "OK", "")]
    assert line.machine.reason == ""


@pytest.mark.parametrize("failure", ["camera: opening it again", "inference: its process ended (SIGKILL)"])
def test_what_fails_while_starting_is_a_failure(failure: str) -> None:
    line = Timeline().go(100, LOADING, masks=False).go(10, (failure, *LOADING), masks=False)
    assert line.changes == [(100, "FAILED", failure)]


def test_a_model_that_loads_again_is_a_failure() -> None:
    line = Timeline().go(300).go(10, LOADING, masks=False)
    assert line.states == ["OK", "FAILED"]


def test_failed_is_entered_at_once_and_left_after_good_masks() -> None:
    line = Timeline().go(300).go(10, STALLED, masks=False)
    assert line.changes[-1] == (300, "FAILED", STALLED[0])
    line.go(1_000, STALLED, masks=False).go(500, masks=False)
    assert line.state == "FAILED", "that nothing is amiss makes no mask"
    line.go(30 * GOOD_MASKS - 10)
    assert line.state == "FAILED"
    assert line.machine.reason == STALLED[0], "why it is not left yet"
    line.go(30)
    assert line.changes[-1][1:] == ("OK", "")
    assert line.states == ["OK", "FAILED", "OK"]


def test_masks_while_it_fails_do_not_count() -> None:
    """A frozen camera gives masks all the time."""
    line = Timeline().go(300).go(3_000, STALLED)
    assert line.state == "FAILED"
    line.go(20)
    assert line.state == "FAILED"
    line.go(30 * GOOD_MASKS)
    assert line.state == "OK"


def test_a_failure_that_returns_begins_anew() -> None:
    line = Timeline().go(300)
    for _ in range(5):
        line.go(100, STALLED).go(30 * (GOOD_MASKS - 1))
    assert line.states == ["OK", "FAILED"]


def test_the_gravest_reason_is_told_as_it_changes() -> None:
    line = Timeline().go(300).go(10, (*STALLED, "another"), masks=False).go(10, ("another",), masks=False)
    assert line.machine.reason == "another"
    assert line.states == ["OK", "FAILED"], "a new reason is no new state"


def test_degraded_is_entered_and_left_slowly() -> None:
    line = Timeline().go(300).go(DEGRADED_AFTER_NS // MS, troubles=SLOW)
    assert line.state == "OK", "one late frame is no alarm"
    line.go(10, troubles=SLOW)
    assert line.changes[-1] == (600, "DEGRADED", SLOW[0])
    line.go(2_000, troubles=SLOW).go(DEGRADED_UNTIL_NS // MS)
    assert (line.state, line.machine.reason) == ("DEGRADED", SLOW[0])
    line.go(10)
    assert line.changes[-1] == (2_610 + DEGRADED_UNTIL_NS // MS, "OK", "")


def test_troubles_that_come_and_go_neither_begin_nor_end_it() -> None:
    line = Timeline().go(300)
    for _ in range(10):
        line.go(200, troubles=SLOW).go(10)
    assert line.states == ["OK"]
    line.go(400, troubles=SLOW)
    for _ in range(10):
        line.go(900).go(10, troubles=SLOW)
    assert line.states == ["OK", "DEGRADED"]


def test_a_failure_outdoes_trouble_and_leads_back_to_it() -> None:
    line = (
        Timeline().go(300).go(400, troubles=SLOW).go(100, STALLED, SLOW, masks=False).go(200, troubles=SLOW)
    )
    assert line.states == ["OK", "DEGRADED", "FAILED", "DEGRADED"]


def test_stopping_is_final() -> None:
    line = Timeline().go(300)
    change = line.machine.update(line.now_ns, Facts(masks=line.masks, ending="told to stop"))
    assert change is not None
    assert (change.before, change.after, change.reason) == ("OK", "STOPPING", "told to stop")
    line.go(500).go(500, STALLED).go(500, troubles=SLOW)
    assert (line.state, line.machine.reason) == ("STOPPING", "told to stop")
    assert line.states == ["OK"]


# What is said.


def test_ten_thousand_equal_faults_are_a_line_a_second_with_their_number() -> None:
    said: list[tuple[int, str]] = []
    now_ns = 7_000 * MS
    log = OncePerSecond(lambda text: said.append((now_ns, text)))
    for _ in range(10_000):
        log.say("camera", "a damaged frame", now_ns)
        now_ns += MS // 2
    assert len(said) == 5
    assert all(later - earlier >= 1_000 * MS for (earlier, _), (later, _) in pairwise(said))
    assert said[0][1] == "a damaged frame"
    assert {text for _, text in said[1:]} == {"a damaged frame (and 1999 more like it)"}


def test_the_last_of_many_are_told_once_they_have_ended() -> None:
    said: list[str] = []
    log = OncePerSecond(said.append)
    for number in range(10):
        log.say("camera", f"fault {number}", number * MS)
    log.settle(999 * MS)
    assert said == ["fault 0"]
    for now_ns in (1_000 * MS, 5_000 * MS):
        log.settle(now_ns)
        assert said == ["fault 0", "fault 9 (and 8 more like it)"], "once"


def test_other_faults_are_said_meanwhile() -> None:
    said: list[str] = []
    log = OncePerSecond(said.append)
    for key in ("camera", "inference", "camera", "sink", "camera"):
        log.say(key, key, 0)
    assert said == ["camera", "inference", "sink"]


def test_faults_of_ever_new_kinds_take_no_memory() -> None:
    log = OncePerSecond(lambda _: None)
    for number in range(5_000):
        log.say(f"kind {number}", "text", 0)
    assert len(log._last) <= 1_000


# Slower than at first.


def feed(slowdown: Slowdown, milliseconds: float, count: int, seed: int = 0) -> list[float]:
    noise = np.random.default_rng(seed).uniform(0.95, 1.05, count)
    return [slowdown.update(float(milliseconds * factor)) for factor in noise]


def test_steady_inference_is_not_slower() -> None:
    assert max(feed(Slowdown(), 20, 2_000)) < 1.2


def test_one_slow_frame_is_no_slowdown() -> None:
    slowdown = Slowdown()
    feed(slowdown, 20, FIRST + RECENT)
    assert slowdown.update(2_000) < 1.2
    assert max(feed(slowdown, 20, 100)) < 1.2


def test_what_is_twice_as_slow_is_seen_within_the_recent_ones_and_forgotten_likewise() -> None:
    slowdown = Slowdown()
    feed(slowdown, 20, 100)
    seen = feed(slowdown, 40, RECENT, seed=1)
    assert seen[0] < 1.2
    assert seen[-1] == pytest.approx(2.0, rel=0.1)
    assert feed(slowdown, 20, RECENT, seed=2)[-1] == pytest.approx(1.0, rel=0.1)


def test_a_slow_ramp_is_held_against_the_beginning() -> None:
    slowdown = Slowdown()
    feed(slowdown, 20, 100)
    for step in range(200):
        last = feed(slowdown, 20 * 1.005**step, 5, seed=step)[-1]
    assert last > 2.4


def test_a_tiny_model_is_not_slower_for_a_millisecond_more() -> None:
    slowdown = Slowdown()
    feed(slowdown, 0.2, 100)
    assert feed(slowdown, 0.2 + NOTICED_MS / 2, 100)[-1] == 1.0


def test_nothing_is_said_before_there_is_something_to_compare() -> None:
    slowdown = Slowdown()
    assert set(feed(slowdown, 20, FIRST) + feed(slowdown, 200, RECENT - 1)) == {1.0}
    assert slowdown.update(200) > 5
