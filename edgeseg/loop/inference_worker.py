"""The inference process: the newest frame in, its mask out, and nothing that looks better than it is.

It may crash, hang or run out of memory alone: the supervisor ends it and starts another, which goes on
counting on the board where this one was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from edgeseg.errors import BundleError, InferenceError
from edgeseg.labels import Mask
from edgeseg.loop.board import Board
from edgeseg.loop.channel import ChannelClosedError
from edgeseg.loop.plan import LoopPlan
from edgeseg.loop.realtime import enter as enter_realtime
from edgeseg.loop.ring import RingReader, RingWriter, Taken
from edgeseg.loop.slowdown import Slowdown
from edgeseg.loop.smoothing import Smoother
from edgeseg.loop.states import STATES
from edgeseg.loop.worker import Worker, end_collections, work
from edgeseg.segmenter import Segmentation, Segmenter

STALE_PERIODS = 2
FAILURES_IN_A_ROW = 3
_POLL_SECONDS = 0.05
_NS_PER_MS = 1e6


def main() -> None:
    work(_run)


def _run(worker: Worker) -> None:
    if worker.plan.realtime:
        # Before the runtime is loaded: its threads are to have it too.
        enter_realtime("inference", worker.plan.threads)
    with _load(worker) as segmenter:
        _check_same(worker.told.get("digest"), segmenter)
        InferenceWorker(worker, segmenter).run()


class InferenceWorker:
    """Segments frame after frame until there are no more."""

    def __init__(self, worker: Worker, segmenter: Segmenter) -> None:
        self._worker, self._segmenter = worker, segmenter
        self._count: Any = worker.board.inference
        self._frames, self._masks = RingReader(worker.frames), RingWriter(worker.masks)
        self._durations = {
            n: worker.board.durations(n) for n in ("decode", "wait", "resize", "infer", "post")
        }
        self._age, self._publishing = worker.board.durations("age"), worker.board.durations("publish")
        self._slowdown = Slowdown()
        self._smoother = Smoother(len(segmenter.labels), worker.plan.smooth) if worker.plan.smooth else None
        _account_for_the_dead(worker.board, self._frames.taken)

    def run(self) -> None:
        """Until the frames end or the loop does."""
        end_collections(self._count)
        self._count["ready"] = 1
        self._worker.voice.say("ready", **_facts(self._segmenter))
        while not self._worker.stopping:
            try:
                self._step(_POLL_SECONDS)
            except ChannelClosedError:
                break
        self._count["ended"] = 1
        self._masks.close()

    def _step(self, seconds: float) -> None:
        """The newest frame, if one comes in time."""
        taken = self._frames.take(seconds)
        if taken is not None:
            self._count["passed"] += taken.passed
            self._count["taken"] += 1
            self._segment(taken)

    def _segment(self, taken: Taken) -> None:
        """One frame, to its mask or to what else becomes of it."""
        count, fields = self._count, taken.fields
        started_ns = time.monotonic_ns()
        if self._is_stale(started_ns - fields["captured_ns"]):
            count["stale"] += 1
            return
        count["busy_since_ns"] = started_ns
        image = taken.payload("image", (fields["height"], fields["width"], 3))
        try:
            self._publish(taken, image, started_ns)
        except InferenceError as error:
            self._failed(error)
        finally:
            count["busy_since_ns"] = 0
        # A sink may take its time: that is no inference that hangs.
        while self._in_order and not self._worker.stopping and not self._masks.wait_taken(_POLL_SECONDS):
            pass

    def _publish(self, taken: Taken, image: Mask, started_ns: int) -> None:
        """Segment the picture where it lies, straight into a slot of the sinks' ring."""
        fields = taken.fields
        with self._masks.slot() as slot:
            adjust = partial(self._adjust, epoch=fields["epoch"])
            mask = slot.payload("mask", image.shape[:2])
            result = self._segmenter(image, captured_ns=fields["captured_ns"], out=mask, adjust=adjust)
            infer_done = time.monotonic_ns()
            if not taken.intact:
                self._count["torn"] += 1
                raise _TornError
            if self._worker.plan.publishes:
                np.copyto(slot.payload("image", image.shape), image)
            _keep(slot, "model_mask", result.model_mask)
            if result.confidence is not None:
                _keep(slot, "confidence", result.confidence)
            slot.fields.update(fields)
            stamp = self._stamp(taken, result)
            slot.fields.update(stamp)
        self._finished(taken, result, started_ns, stamp)
        self._publishing.add((time.monotonic_ns() - infer_done) / _NS_PER_MS)

    def _adjust(self, mask: Mask, epoch: int) -> None:
        """What the runtime gave, before anything is made of it."""
        segmenter = self._segmenter
        _check_mask(mask, (segmenter.height, segmenter.width), len(segmenter.labels))
        if self._smoother is not None:
            self._smoother.apply(mask, epoch)

    def _stamp(self, taken: Taken, result: Segmentation) -> dict[str, Any]:
        """Whether the mask may be used, decided at the last moment before it is published."""
        board, deadline_ms = self._worker.board, self._worker.plan.budgets.deadline_ms
        now_ns = time.monotonic_ns()
        late = bool(deadline_ms) and (now_ns - taken.fields["captured_ns"]) / _NS_PER_MS > deadline_ms
        state = int(board.supervisor["state"])
        blind = taken.fields["view"] or int(board.capture["view"])
        usable = STATES[state] not in ("FAILED", "STOPPING") and not blind
        height, width = result.model_mask.shape
        return {
            "finished_ns": now_ns,
            "resize_ms": result.timings.resize_ms,
            "infer_ms": result.timings.infer_ms,
            "post_ms": result.timings.post_ms,
            "model_height": height,
            "model_width": width,
            "has_confidence": result.confidence is not None,
            "state": state,
            "valid": usable and not late,
            "late": late,
        }

    def _finished(
        self, taken: Taken, result: Segmentation, started_ns: int, stamp: Mapping[str, Any]
    ) -> None:
        count, fields, timings = self._count, taken.fields, result.timings
        age_ms = (stamp["finished_ns"] - fields["captured_ns"]) / _NS_PER_MS
        parts = (
            fields["decode_ms"],
            (started_ns - fields["ready_ns"]) / _NS_PER_MS,
            timings.resize_ms,
            timings.infer_ms,
            timings.post_ms,
        )
        for durations, milliseconds in zip(self._durations.values(), parts, strict=True):
            durations.add(milliseconds)
        self._age.add(age_ms)
        late = stamp["late"]
        count["late"] += late
        count["late_in_a_row"] = int(count["late_in_a_row"]) + 1 if late else 0
        count["slowdown"] = self._slowdown.update(timings.infer_ms)
        count["age_ms"], count["infer_ms"] = age_ms, timings.infer_ms
        count["sequence"] = fields["frame"]
        count["failed_in_a_row"] = 0
        overdue_ms = age_ms - timings.total_ms - self._stale_ms
        count["overdue_ms"] = max(float(count["overdue_ms"]), overdue_ms) if count["finished"] else overdue_ms
        count["finished"] += 1
        count["finished_ns"] = stamp["finished_ns"]

    def _failed(self, error: InferenceError) -> None:
        """One frame without a mask is borne; several in a row are a model that is broken."""
        if isinstance(error, _TornError):
            return
        self._count["failed"] += 1
        self._count["failed_in_a_row"] += 1
        self._worker.voice.error("inference", error)
        if int(self._count["failed_in_a_row"]) >= FAILURES_IN_A_ROW:
            raise error

    @property
    def _in_order(self) -> bool:
        return self._worker.plan.publishes and self._worker.told["mode"] == "every-frame"

    @property
    def _stale_ms(self) -> float:
        return float(STALE_PERIODS * self._worker.told["period_ms"])

    def _is_stale(self, age_ns: int) -> bool:
        return self._worker.told["mode"] != "every-frame" and age_ns / _NS_PER_MS > self._stale_ms


class _TornError(InferenceError):
    """The frame was written over while it was read; it has been counted."""

    def __init__(self) -> None:
        super().__init__("frame", expected="a whole frame", found="a torn one", next_step="Nothing.")


def _load(worker: Worker) -> Segmenter:
    plan: LoopPlan = worker.plan
    worker.board.inference["ready"] = 0
    worker.board.inference["starts"] += 1
    # Once it has been loaded on trial and run, a crash later on is no reason to try the file again.
    first = int(worker.board.inference["starts"]) == 1
    segmenter: Segmenter = plan.part(1)(
        plan.bundle,
        runtime=plan.runtime,
        threads=plan.threads,
        precision=plan.precision,
        trusted_keys=plan.trusted_keys or None,
        isolate=first,
    )
    return segmenter


def _check_same(digest: str | None, segmenter: Segmenter) -> None:
    """An update may have put another bundle in its place since: its masks would carry this one's names."""
    if digest not in (None, segmenter.bundle.digest):
        raise BundleError(
            segmenter.bundle.path,
            expected="the bundle that the loop was started with",
            found="another one, by its digest",
            next_step="Start the loop again, so that everything knows the new bundle.",
        )


def _facts(segmenter: Segmenter) -> dict[str, Any]:
    bundle = segmenter.bundle
    return {
        "bundle": bundle.manifest.name,
        "digest": bundle.digest,
        "signature": str(bundle.signature),
        "runtime": segmenter.runtime_name,
        "threads": segmenter.threads,
        "build_note": segmenter.build_note,
        "labels": segmenter.labels.to_dict(),
    }


def _check_mask(mask: Mask, shape: tuple[int, int], classes: int) -> None:
    """A runtime that has lost its mind gives floats, another shape, or ids that are no classes."""
    found = f"{mask.dtype} {list(mask.shape)}"
    if mask.dtype == np.uint8 and mask.shape == shape:
        highest = int(mask.max())
        if highest < classes:
            return
        found = f"a class {highest}"
    raise InferenceError(
        "mask",
        expected=f"class ids from 0 to {classes - 1}, uint8 {list(shape)}",
        found=found,
        next_step="Verify the bundle: edgeseg verify BUNDLE.",
    )


def _keep(slot: Any, name: str, array: Mask) -> None:
    np.copyto(slot.payload(name, array.shape), array)


def _account_for_the_dead(board: Board, last_taken: int) -> None:
    """The frame that the process before this one had in hand has failed."""
    count = board.inference
    # It may have been ended between taking a frame and counting it, and those before it that had passed.
    uncounted = last_taken - int(count["taken"]) - int(count["passed"])
    if uncounted > 0:
        count["passed"] += uncounted - 1
        count["taken"] += 1
    in_hand = int(count["taken"]) - sum(int(count[name]) for name in ("finished", "failed", "stale", "torn"))
    count["failed"] += in_hand
    count["busy_since_ns"] = 0
    count["failed_in_a_row"] = 0
