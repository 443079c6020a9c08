"""The loop itself: newest frame in, mask out, and an honest account of both."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from edgeseg.camera import Source
from edgeseg.errors import EdgesegError, SourceError, UsageError
from edgeseg.loop.capture import Capture, Captured
from edgeseg.loop.channel import ChannelClosedError
from edgeseg.loop.publish import Finished, Publisher
from edgeseg.loop.report import Counts, Ended, LoopReport, LoopStatus, Mode
from edgeseg.loop.sinks import Sink
from edgeseg.loop.tally import Tally
from edgeseg.segmenter import Segmentation, Segmenter

STALE_PERIODS = 2
STALL_SECONDS = 10.0
_POLL_SECONDS = 0.1
_STATUS_SECONDS = 0.5

OnStatus = Callable[[LoopStatus], None]


def run_loop(
    segmenter: Segmenter,
    source: Source,
    sink: Sink,
    *,
    every_frame: bool = False,
    max_age_ms: float | None = None,
    on_status: OnStatus | None = None,
    stop: threading.Event | None = None,
) -> LoopReport:
    """Segment a source's frames until it ends, fails, or ``stop`` is set; then finish the sink.

    Capture and sink have a thread each; inference runs in the caller's. The newest frame wins: a frame that
    inference has no time for is overwritten by the next, and one older than two frame periods is thrown
    away, so that no mask is older than two periods and its own inference when it is finished. A sink that is
    too slow for all masks is given the newest. Files are played at their own rate, as if they were a camera.

    Args:
        segmenter: A loaded bundle.
        source: An open source; it is closed at the end.
        sink: Where the masks go; it is finished and closed at the end.
        every_frame: Segment every frame of a file in order, as fast as it goes, and drop none.
        max_age_ms: Masks older than this when the sink is given them are given with ``valid=False``.
        on_status: Called about twice a second, from the caller's thread.
        stop: Set it from another thread or a signal handler to end the loop.

    Returns:
        The report. What failed, if anything did, is ``report.error``: it is not raised, so that there is a
        report in every case.

    Raises:
        UsageError: ``every_frame`` with a live source, whose frames do not wait.
    """
    return _Run(
        segmenter, source, sink, choose_mode(source, every_frame), max_age_ms, on_status, stop
    ).complete()


class _Run:
    """The parts of one run, and its steps."""

    def __init__(
        self,
        segmenter: Segmenter,
        source: Source,
        sink: Sink,
        mode: Mode,
        max_age_ms: float | None,
        on_status: OnStatus | None,
        stop: threading.Event | None,
    ) -> None:
        self._segmenter = segmenter
        self._source = source
        self._sink = sink
        self._mode = mode
        self._on_status = on_status
        self._stop = stop or threading.Event()
        self._capture = Capture(source, mode)
        self._publisher = Publisher(sink, mode, max_age_ms)
        stale_ms = None if mode == "every-frame" else STALE_PERIODS * 1000 / source.fps
        self._tally = Tally(stale_ms)
        self._status_due = time.monotonic()
        self._error: EdgesegError | None = None

    def complete(self) -> LoopReport:
        """Everything, from the first frame to the report."""
        try:
            with self._publisher:
                with self._capture:
                    try:
                        self._pump()
                    except EdgesegError as error:
                        self._error = error
                # Pictures are held to the source's time; every frame needs none, and ends with its last.
                every_frame = self._mode == "every-frame"
                self._publisher.finish(self._tally.segmented if every_frame else self._capture.positions)
        finally:
            if not self._capture.running:
                self._source.close()
        return self._report()

    def _pump(self) -> None:
        """From capture to sink, frame by frame."""
        for captured in self._frames():
            if self._tally.is_stale(captured):
                continue
            started_ns = time.monotonic_ns()
            frame = captured.frame
            segmentation = self._segmenter(frame.image, captured_ns=frame.captured_ns)
            self._tally.count(captured, started_ns, segmentation)
            self._publisher.publish(Finished(segmentation, captured.position, self._figures(segmentation)))
            self._tell_status(captured.position)

    def _frames(self) -> Iterator[Captured]:
        """Frames until the source's end, its failure, or ``stop``."""
        last = time.monotonic()
        while not self._stop.is_set():
            try:
                captured = self._capture.frames.take(_POLL_SECONDS)
            except ChannelClosedError:
                if self._capture.error is not None:
                    raise self._capture.error from None
                return
            if captured is not None:
                yield captured
                last = time.monotonic()
            elif time.monotonic() - last > STALL_SECONDS:
                raise _stalled(self._source)

    def _figures(self, segmentation: Segmentation) -> str:
        return f"inference {segmentation.timings.infer_ms:.0f} ms   {self._tally.fps:.1f} fps"

    def _tell_status(self, position: int) -> None:
        now = time.monotonic()
        if self._on_status is None or now < self._status_due:
            return
        self._status_due = now + _STATUS_SECONDS
        tally, capture = self._tally, self._capture
        dropped = capture.frames.overwritten + capture.skipped + tally.stale
        self._on_status(
            LoopStatus(
                tally.seconds, position, self._source.frame_count, tally.fps, tally.last_age_ms, dropped
            )
        )

    def _report(self) -> LoopReport:
        tally, capture, publisher = self._tally, self._capture, self._publisher
        error = self._error or publisher.error
        whole: Ended = "stopped" if self._stop.is_set() else "end of stream"
        stages = {**tally.stages, "sink": publisher.durations}
        return LoopReport(
            bundle=self._segmenter.bundle.manifest.name,
            digest=self._segmenter.bundle.digest,
            signature=str(self._segmenter.bundle.signature),
            runtime=self._segmenter.runtime_name,
            threads=self._segmenter.threads,
            build_note=self._segmenter.build_note,
            source=self._source.name,
            source_fps=self._source.fps,
            frame_size=self._source.frame_size,
            sink=self._sink.name,
            output=self._sink.output,
            mode=self._mode,
            ended="failed" if error else whole,
            error=error,
            seconds=tally.seconds,
            fps=tally.fps,
            counts=Counts(
                captured=capture.captured,
                skipped=capture.skipped,
                overwritten=capture.frames.overwritten,
                stale=tally.stale,
                segmented=tally.segmented,
                late=publisher.late,
                written=publisher.written,
            ),
            stages={name: durations.summary() for name, durations in stages.items()},
            age=tally.age.summary(),
            age_at_sink=publisher.age.summary(),
            max_overdue_ms=tally.max_overdue_ms,
        )


def choose_mode(source: Source, every_frame: bool) -> Mode:
    """How a source's frames are taken.

    Raises:
        UsageError: ``every_frame`` with a live source, whose frames do not wait.
    """
    if every_frame and source.live:
        raise UsageError(
            "--every-frame",
            expected="a file or folder, whose frames wait",
            found=f"the live source {source.name}",
            next_step="Leave it out: of a live source the newest frame wins.",
        )
    if every_frame:
        return "every-frame"
    return "live" if source.live else "real-time"


def _stalled(source: Source) -> SourceError:
    return SourceError(
        source.name,
        expected="another frame",
        found=f"none for {STALL_SECONDS:g} s",
        next_step="Check the camera, its cable or the network.",
    )
