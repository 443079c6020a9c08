"""The loop: newest wins, every frame counts, nothing lies about its age, every end is clean."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeseg
from edgeseg.camera import Frame, open_source
from edgeseg.errors import InferenceError, SinkError, SourceError, UsageError
from edgeseg.loop import LoopReport, LoopStatus, run_loop
from edgeseg.loop.sinks import NoSink, Published

PERIOD_MS = 40.0


class ListSink(NoSink):
    """Keeps what it is given; may be slow, or fail."""

    def __init__(self, seconds: float = 0, fails_at: int | None = None) -> None:
        self.taken: list[Published] = []
        self.finished_at: int | None = None
        self.closed = False
        self._seconds = seconds
        self._fails_at = fails_at

    def write(self, published: Published) -> None:
        if len(self.taken) == self._fails_at:
            raise SinkError("disk", expected="room", found="none", next_step="Make some.")
        time.sleep(self._seconds)
        self.taken.append(published)

    def finish(self, positions: int) -> None:
        self.finished_at = positions

    def close(self) -> None:
        self.closed = True

    @property
    def positions(self) -> list[int]:
        return [p.position for p in self.taken]


class Camera:
    """A live source of grey pictures; it may end in an error, or hang."""

    name, live, fps, frame_size, frame_count = "camera", True, 50.0, (32, 64), None

    def __init__(self, frames: int, then: Callable[[], Any]) -> None:
        self._frames = frames
        self._then = then
        self._index = 0
        self.closed = False

    def read(self) -> Frame | None:
        time.sleep(1 / self.fps)
        if self._index >= self._frames:
            self._then()
            return None
        self._index += 1
        image = np.full((32, 64, 3), self._index, np.uint8)
        return Frame(image, self._index - 1, time.monotonic_ns(), 0.1)

    def skip(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def slow(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Any]:
    """A segmenter whose inference takes so many seconds."""

    def make(seconds: float) -> Any:
        segmenter = edgeseg.load(bundle)
        infer = segmenter._runtime.infer

        def late(image: np.ndarray) -> Any:
            time.sleep(seconds)
            return infer(image)

        monkeypatch.setattr(segmenter._runtime, "infer", late)
        return segmenter

    return make


@pytest.fixture
def segmenter(bundle: Path) -> Any:
    with edgeseg.load(bundle) as loaded:
        yield loaded


def frames_add_up(report: LoopReport) -> bool:
    """Every frame has one fate; at most one was in hand when the loop ended."""
    c = report.counts
    return 0 <= c.captured - c.segmented - c.overwritten - c.stale <= 2


# Every frame.


def test_every_frame_is_segmented_in_order(segmenter: Any, video: Path) -> None:
    sink = ListSink()
    report = run_loop(segmenter, open_source(str(video)), sink, every_frame=True)
    assert sink.positions == list(range(30))
    assert (report.ended, report.error, report.mode) == ("end of stream", None, "every-frame")
    assert report.counts.segmented == report.counts.captured == report.counts.written == 30
    assert report.max_overdue_ms is None
    assert sink.finished_at == 30
    assert sink.closed


def test_every_frame_waits_for_a_slow_model_and_a_slow_sink(
    slow: Callable[[float], Any], video: Path
) -> None:
    sink = ListSink(seconds=0.01)
    report = run_loop(slow(0.01), open_source(str(video)), sink, every_frame=True)
    assert sink.positions == list(range(30))
    assert report.counts.overwritten == 0


def test_masks_are_those_of_their_frames(segmenter: Any, video: Path) -> None:
    sink = ListSink()
    run_loop(segmenter, open_source(str(video)), sink, every_frame=True)
    frames = list(iter(open_source(str(video)).read, None))
    for published, frame in zip(sink.taken, frames, strict=True):
        np.testing.assert_array_equal(published.segmentation.frame, frame.image)
        np.testing.assert_array_equal(published.segmentation.mask, segmenter(frame.image).mask)


def test_every_frame_is_not_for_cameras(segmenter: Any) -> None:
    with pytest.raises(UsageError, match="--every-frame"):
        run_loop(segmenter, Camera(1, lambda: None), ListSink(), every_frame=True)


# Real time.


def test_a_file_is_played_at_its_own_rate(segmenter: Any, video: Path) -> None:
    sink = ListSink()
    started = time.monotonic()
    report = run_loop(segmenter, open_source(str(video)), sink)
    assert time.monotonic() - started > 29 / 25
    assert report.mode == "real-time"
    assert report.counts.segmented >= 10
    assert sink.positions == sorted(set(sink.positions))
    assert frames_add_up(report)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.07, 0.15])
def test_no_age_exceeds_two_periods_and_its_inference(
    slow: Callable[[float], Any], video: Path, seconds: float
) -> None:
    sink = ListSink()
    report = run_loop(slow(seconds), open_source(str(video)), sink)
    for published in sink.taken:
        segmentation = published.segmentation
        assert segmentation.age_ms <= 2 * PERIOD_MS + segmentation.timings.total_ms + 5
        assert segmentation.age_ms >= seconds * 1000
    assert report.max_overdue_ms is not None
    assert report.max_overdue_ms < 5
    assert frames_add_up(report)


def test_a_slow_model_gets_the_newest_frames(slow: Callable[[float], Any], video: Path) -> None:
    sink = ListSink()
    report = run_loop(slow(0.1), open_source(str(video)), sink)
    steps = np.diff(sink.positions)
    assert report.counts.overwritten > 10
    assert (steps[:-1] >= 2).all()  # the last frame of all is taken even when it has just come
    assert report.counts.segmented < 15
    assert sink.finished_at == 30


@pytest.mark.parametrize("decode_seconds", [0.06, 0.13])
def test_a_source_slower_than_its_clock_skips(
    segmenter: Any, video: Path, monkeypatch: pytest.MonkeyPatch, decode_seconds: float
) -> None:
    source, sink = open_source(str(video)), ListSink()
    read = source.read

    def slowly() -> Frame | None:
        time.sleep(decode_seconds)
        return read()

    monkeypatch.setattr(source, "read", slowly)
    started = time.monotonic()
    report = run_loop(segmenter, source, sink)
    assert time.monotonic() - started < 3.0
    assert report.counts.skipped > 5
    assert report.counts.captured + report.counts.skipped == 30
    assert report.counts.segmented > 5
    assert sink.finished_at == 30
    assert report.max_overdue_ms is not None
    assert report.max_overdue_ms < 5


def test_a_slow_sink_holds_nothing_up(segmenter: Any, video: Path) -> None:
    sink = ListSink(seconds=0.3)
    report = run_loop(segmenter, open_source(str(video)), sink)
    assert report.counts.written < report.counts.segmented
    assert report.age.p50 < 2 * PERIOD_MS
    assert report.max_overdue_ms is not None
    assert report.max_overdue_ms < 5


def test_a_slow_sink_is_given_the_newest_mask_with_the_age_it_has_by_then(
    segmenter: Any, video: Path
) -> None:
    sink = ListSink(seconds=0.25)
    report = run_loop(segmenter, open_source(str(video)), sink, max_age_ms=2 * PERIOD_MS)
    # What waits is replaced each period, so that it is never older than one period and its own mask.
    assert max(p.age_ms for p in sink.taken[:-1]) < 4 * PERIOD_MS
    assert np.diff(sink.positions[:-1]).min() >= 5
    for published in sink.taken:
        assert published.age_ms >= published.segmentation.age_ms
        assert published.segmentation.valid == (published.age_ms <= 2 * PERIOD_MS)
        assert published.caption.startswith(f"age {published.age_ms:.0f} ms")
    assert report.age_at_sink.count == report.counts.written == len(sink.taken)
    assert report.age_at_sink.max == max(p.age_ms for p in sink.taken)


def test_masks_that_grow_too_old_on_the_way_to_the_sink_are_marked(segmenter: Any, video: Path) -> None:
    sink = ListSink(seconds=0.1)
    report = run_loop(segmenter, open_source(str(video)), sink, every_frame=True, max_age_ms=50)
    assert report.counts.late == sum(not p.segmentation.valid for p in sink.taken) > 20
    assert not sink.taken[-1].segmentation.valid
    assert all(p.age_ms > 50 for p in sink.taken if not p.segmentation.valid)


def test_old_masks_are_marked(slow: Callable[[float], Any], video: Path) -> None:
    sink = ListSink()
    report = run_loop(slow(0.05), open_source(str(video)), sink, max_age_ms=30)
    assert report.counts.late == report.counts.written > 0
    assert not any(p.segmentation.valid for p in sink.taken)


def test_masks_in_time_are_valid(segmenter: Any, video: Path) -> None:
    sink = ListSink()
    report = run_loop(segmenter, open_source(str(video)), sink, max_age_ms=1000)
    assert all(p.segmentation.valid for p in sink.taken)
    assert report.counts.late == 0


# Live sources and failures.


def test_a_camera_that_fails_ends_the_loop_with_a_report(segmenter: Any) -> None:
    def fail() -> None:
        raise SourceError("camera", expected="a frame", found="none", next_step="Plug it in.")

    camera, sink = Camera(10, fail), ListSink()
    report = run_loop(segmenter, camera, sink)
    assert report.ended == "failed"
    assert isinstance(report.error, SourceError)
    assert report.counts.segmented > 0
    assert sink.finished_at is not None
    assert sink.closed
    assert camera.closed


def test_what_a_driver_throws_is_reported(segmenter: Any) -> None:
    def fail() -> None:
        raise RuntimeError("ioctl")

    report = run_loop(segmenter, Camera(3, fail), ListSink())
    assert isinstance(report.error, SourceError)
    assert "ioctl" in str(report.error)


@pytest.mark.timeout(30)
def test_a_camera_that_hangs_is_noticed(segmenter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()
    monkeypatch.setattr("edgeseg.loop.run.STALL_SECONDS", 0.5)
    monkeypatch.setattr("edgeseg.loop.capture._JOIN_SECONDS", 0.1)
    camera = Camera(3, released.wait)
    report = run_loop(segmenter, camera, ListSink())
    assert isinstance(report.error, SourceError)
    assert "none for 0.5 s" in str(report.error)
    assert not camera.closed  # closing under a thread that reads would crash
    released.set()


def test_a_failing_sink_ends_the_loop(segmenter: Any, video: Path) -> None:
    sink = ListSink(fails_at=3)
    report = run_loop(segmenter, open_source(str(video)), sink)
    assert isinstance(report.error, SinkError)
    assert report.error.exit_code == 7
    assert report.counts.written == 3
    assert report.counts.segmented < 30
    assert sink.closed


def test_a_failing_model_ends_the_loop(segmenter: Any, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: np.ndarray) -> None:
        raise InferenceError("frame", expected="a mask", found="none", next_step="Verify.")

    monkeypatch.setattr(segmenter._runtime, "infer", fail)
    report = run_loop(segmenter, open_source(str(video)), ListSink())
    assert isinstance(report.error, InferenceError)
    assert report.counts.segmented == 0
    assert report.fps == 0


def test_a_fault_of_the_program_is_raised_and_leaves_no_thread(
    segmenter: Any, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(image: np.ndarray) -> None:
        raise TypeError("a fault")

    monkeypatch.setattr(segmenter._runtime, "infer", fault)
    sink = ListSink()
    with pytest.raises(TypeError, match="a fault"):
        run_loop(segmenter, open_source(str(video)), sink)
    assert sink.closed
    assert not [t for t in threading.enumerate() if t.name.startswith("edgeseg-")]


# Ending and telling.


@pytest.mark.timeout(30)
@pytest.mark.parametrize("every_frame", [False, True])
def test_stop_ends_it_at_once(slow: Callable[[float], Any], make_video: Any, every_frame: bool) -> None:
    stop = threading.Event()
    threading.Timer(0.4, stop.set).start()
    sink = ListSink()
    source = open_source(str(make_video(frames=200)))
    report = run_loop(slow(0.02), source, sink, every_frame=every_frame, stop=stop)
    assert report.ended == "stopped"
    assert report.error is None
    assert 0 < report.counts.segmented < 100
    assert sink.closed
    assert not [t for t in threading.enumerate() if t.name.startswith("edgeseg-")]


def test_status_is_told_twice_a_second(segmenter: Any, video: Path) -> None:
    told: list[LoopStatus] = []
    run_loop(segmenter, open_source(str(video)), ListSink(), on_status=told.append)
    assert 2 <= len(told) <= 6
    assert told[-1].frame_count == 30
    assert told[-1].position > told[0].position
    assert told[-1].fps > 0


def test_the_report_as_json(segmenter: Any, video: Path) -> None:
    import json

    report = run_loop(segmenter, open_source(str(video)), ListSink(), every_frame=True)
    values = json.loads(report.to_json())
    assert values["counts"]["segmented"] == 30
    assert values["frame_size"] == [64, 128]
    assert set(values["stages_ms"]) == {"decode", "wait", "resize", "infer", "post", "sink"}
    assert values["age_ms"]["count"] == 30
    assert values["age_ms"]["max"] >= values["age_ms"]["p50"] > 0
    assert values["digest"] == segmenter.bundle.digest


def test_a_source_with_nothing_in_it(segmenter: Any) -> None:
    report = run_loop(segmenter, Camera(0, lambda: None), ListSink())
    assert report.counts.captured == 0
    assert report.seconds == 0
    assert report.ended == "end of stream"
