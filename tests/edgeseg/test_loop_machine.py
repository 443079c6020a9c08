"""Whatever happens in whatever order: every frame has one fate, and no mask looks better than it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edgeseg.camera import Frame
from edgeseg.loop.capture_worker import VIEW_NS
from edgeseg.loop.ledger import Ledger, read_ledger
from edgeseg.loop.ring import SLOTS
from edgeseg.loop.states import STATES
from loop_bench import BUDGETS, HEIGHT, MS, PERIOD_MS, WIDTH, Bench, KilledError

STALE_MS = 2 * PERIOD_MS
KINDS = st.sampled_from(["new", "new", "black", "same"])


class LoopMachine(RuleBasedStateMachine):
    """Frames, faults and time in any order, through the loop's own capture, ring, inference and judgement."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.noise = np.random.default_rng(1)
        self.given = self.damaged = self.published_uncounted = 0
        self.number = 0  # the driver's own
        self.seen = self.behind = 0  # its number in the frame before, and how many in a row came too late
        self.last: Frame | None = None
        self.blind: dict[int, bool] = {}  # by the loop's number: whether the camera showed nothing by then
        self.pictures: dict[int, np.ndarray] = {}
        self.black_since = self.same_since = None  # type: int | None
        self.sequence = 0

    def teardown(self) -> None:
        """Once inference has taken what is left, nothing is on its way."""
        self.bench.segmenter.fault = ""
        for _ in range(2):
            self.infer()
        assert self.ledger.in_flight == 0
        self.bench.close()

    @property
    def ledger(self) -> Ledger:
        return read_ledger(self.bench.board)

    # The camera.

    @rule(
        gap=st.integers(0, 3),
        age_ms=st.integers(0, 60),
        kind=st.sampled_from(["new", "new", "black", "same"]),
    )
    def frame(self, gap: int, age_ms: int, kind: str) -> None:
        """A frame with the driver's next number, or one after a gap."""
        self.number += 1 + gap
        image = self._picture(kind)
        captured_ns = self.bench.now_ns - age_ms * MS
        self._give(Frame(image, 0, captured_ns, 1.0, "driver", self.number % 2**32))
        assert self._handed_on
        self.behind = 0
        self._look(image)

    @rule(count=st.integers(1, 30), kind=KINDS)
    def second(self, count: int, kind: str) -> None:
        """A camera that goes on at its own rate, with inference as fast as it can."""
        for _ in range(count):
            self.bench.advance(PERIOD_MS)
            self.frame(0, 2, kind)
            self.infer()

    @precondition(lambda self: self.last is not None)
    @rule()
    def the_same_again(self) -> None:
        before = self.ledger.duplicate
        assert self.last is not None
        self._give(self.last)
        assert self.ledger.duplicate == before + 1
        self.behind = 0

    @precondition(lambda self: self.last is not None)
    @rule(behind=st.integers(1, 7))
    def one_out_of_order(self, behind: int) -> None:
        assert self.last is not None
        before = self.ledger
        late = replace(self.last, image=self._picture("new"), sequence=(self.number - behind) % 2**32)
        self.bench.give(late)
        self.given += 1
        counts_on = self.behind >= 2 and late.sequence == (self.seen + 1) % 2**32
        self.behind, self.seen = self.behind + 1, late.sequence or 0
        assert counts_on or not self._handed_on
        if self._handed_on:  # a camera that counts on from there has begun to count anew
            self.behind = 0
            self.number, self.last = self.number - behind, late
            self._remember(late.image)
            self._look(late.image)
        else:
            assert self.ledger.unusable == before.unusable + 1

    @rule(damage=st.sampled_from(["undecodable", "float", "grey", "empty", "none"]))
    def a_damaged_one(self, damage: str) -> None:
        images: dict[str, Any] = {
            "float": np.zeros((HEIGHT, WIDTH, 3), np.float32),
            "grey": np.zeros((HEIGHT, WIDTH), np.uint8),
            "empty": np.zeros((0, 0, 3), np.uint8),
        }
        if damage in images:
            self.bench.give(Frame(images[damage], 0, self.bench.now_ns, 1.0, "driver", self.number + 1))
        else:
            self.bench.give(None, "it does not decode" if damage == "undecodable" else "")
        self.given, self.damaged = self.given + 1, self.damaged + 1

    @rule(wrap=st.booleans())
    def the_camera_is_lost_and_opened_again(self, wrap: bool) -> None:
        self.bench.board.capture["open"] = 0
        self.bench.advance(50)
        self.bench.open_camera()
        self.number, self.last = (2**32 - 3 if wrap else 0), None
        self.black_since = self.same_since = None

    @rule(handed_on=st.booleans())
    def capture_is_killed(self, handed_on: bool) -> None:
        """After it has read a frame: before it is handed on, or after that and before it is counted."""
        count = self.bench.board.capture
        if handed_on:
            self.frame(0, 0, "new")
            count["published"] -= self._handed_on
        else:
            count["read"] += 1
            self.given, self.damaged = self.given + 1, self.damaged + 1
        self.bench.start_capture()
        self.the_camera_is_lost_and_opened_again(wrap=False)

    # Time and inference.

    @rule(milliseconds=st.sampled_from([1, 10, 40, 100, 400, 2_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.bench.advance(milliseconds)

    @rule(milliseconds=st.sampled_from([0.5, 5, 30, 70, 200, 1_000]))
    def inference_takes(self, milliseconds: float) -> None:
        self.bench.segmenter.milliseconds = milliseconds

    @rule(fault=st.sampled_from(["", "", "", "raise", "class", "kill"]))
    def inference_goes_wrong(self, fault: str) -> None:
        self.bench.segmenter.fault = fault
        self.infer()
        self.bench.segmenter.fault = ""

    @rule()
    def infer(self) -> None:
        self.bench.infer()
        self._check_mask()

    @rule()
    def inference_is_killed_before_it_counts_what_it_took(self) -> None:
        self.bench.inference._frames.take(0)
        self.bench.start_inference()

    @rule()
    def inference_is_killed_after_it_published(self) -> None:
        before = self.bench.rings[1].sequence

        def killed(*_: object) -> None:
            raise KilledError

        self.bench.inference._finished = killed  # type: ignore[method-assign]
        self.infer()
        self.published_uncounted += self.bench.rings[1].sequence - before
        self.bench.start_inference()

    # What always holds.

    @invariant()
    def every_frame_has_one_fate(self) -> None:
        ledger = self.ledger
        fates = ledger.inferred + ledger.overwritten + ledger.stale + ledger.failed + ledger.unusable
        assert ledger.captured == self.given == fates + ledger.in_flight
        assert 0 <= ledger.in_flight <= SLOTS
        assert ledger.corrupt == self.damaged
        assert ledger.unusable == ledger.corrupt + ledger.duplicate + ledger.reordered
        assert all(count >= 0 for count in ledger.to_dict().values())

    @invariant()
    def every_mask_is_counted(self) -> None:
        assert self.bench.rings[1].sequence == self.ledger.inferred + self.published_uncounted

    @invariant()
    def the_board_says_what_the_supervisor_thinks(self) -> None:
        assert self.bench.board.state == self.bench.machine.state
        assert self.bench.board.inference["age_ms"] >= 0

    def _check_mask(self) -> None:
        """The mask that was published just now, if one was."""
        taken = self.bench.sink.take(0)
        if taken is None:
            return
        assert taken.passed == 0
        fields = taken.fields
        number, state = fields["frame"], STATES[fields["state"]]
        assert number > self.sequence, "published twice, or out of order"
        self.sequence = number
        assert state == self.bench.machine.state, "what it was when the mask was stamped"
        age_ms = (fields["finished_ns"] - fields["captured_ns"]) / MS
        assert 0 <= fields["infer_ms"] <= age_ms <= STALE_MS + fields["infer_ms"]
        assert fields["late"] == (age_ms > BUDGETS.deadline_ms)
        good = state != "FAILED" and not self.blind[number] and not fields["late"]
        assert fields["valid"] == good
        image = taken.payload("image", (HEIGHT, WIDTH, 3))
        np.testing.assert_array_equal(image, self.pictures[number])
        assert (taken.payload("mask", (HEIGHT, WIDTH)) == image[0, 0, 0] % 3).all()

    # A camera, and what it is to be taken for.

    def _picture(self, kind: str) -> np.ndarray:
        if kind == "same" and self.last is not None:
            return self.last.image
        if kind == "black":
            return np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        return self.noise.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)

    def _give(self, frame: Frame) -> None:
        self.before = self.last
        self.bench.give(frame)
        self.given += 1
        self.last, self.seen = frame, frame.sequence or 0
        self._remember(frame.image)

    def _remember(self, image: np.ndarray) -> None:
        self.pictures[self.given] = image

    @property
    def _handed_on(self) -> bool:
        """Whether the frame that was given last is the newest of the ring."""
        ring = self.bench.rings[0]
        return bool(ring.sequence and ring.records[int(ring.control["newest"])]["frame"] == self.given)

    def _look(self, image: np.ndarray) -> None:
        """Blind: black for longer than a tunnel's mouth, or the same to the last bit for the budget."""
        now_ns = self.bench.now_ns
        black, same = not image.any(), self.before is not None and np.array_equal(image, self.before.image)
        self.black_since = (self.black_since or now_ns) if black else None
        self.same_since = (self.same_since or now_ns) if same else None
        self.blind[self.given] = (black and now_ns - (self.black_since or 0) >= VIEW_NS) or (
            same and now_ns - (self.same_since or 0) >= BUDGETS.frozen_ms * MS
        )


TestLoopMachine = LoopMachine.TestCase
TestLoopMachine.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
