"""The capture process: reads the source, throws out what is no new picture, and hands the rest on.

A live source that fails is opened anew, each time as a new epoch, for as long as the loop runs. A read that
never returns is the supervisor's to end: it kills this process, and the next one goes on counting where it
was.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict

import numpy as np

from edgeseg.camera import Frame, LiveCamera, Source, with_start
from edgeseg.camera.checks import FrozenCheck, SequenceGate, ViewCheck
from edgeseg.errors import SourceError
from edgeseg.loop.board import VIEWS
from edgeseg.loop.modes import choose_mode
from edgeseg.loop.pacing import Pace, Read
from edgeseg.loop.plan import LARGEST_FRAME, SourceFacts
from edgeseg.loop.realtime import enter as enter_realtime
from edgeseg.loop.report import Mode
from edgeseg.loop.ring import RingWriter
from edgeseg.loop.worker import Worker, end_collections, work

FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 0.8
VIEW_NS = 300_000_000
"""A camera sees nothing if it has seen nothing for so long."""
_POLL_SECONDS = 0.05


def main() -> None:
    work(_run)


def _run(worker: Worker) -> None:
    if worker.plan.realtime:
        enter_realtime("capture")
    CaptureWorker(worker).run()


class CaptureWorker:
    """Reads epoch after epoch until the source's end or the loop's."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._count = worker.board.capture
        self._writer = RingWriter(worker.frames)
        self._live = bool(worker.told.get("live"))
        self._mode: Mode = "live"
        if not int(self._count["epoch"]):
            self._count["position"] = -1
        self._account_for_the_dead()

    def run(self) -> None:
        """Until the end; then nothing more comes."""
        backoff = FIRST_BACKOFF
        while not self._stopping():
            frames_before = int(self._count["published"])
            try:
                with closing(self._open()) as first, closing(self._begun(first)) as source:
                    self._read_all(source)
                    break
            except SourceError as error:
                if not self._may_come_back():
                    self._count["open"] = 0
                    raise
                # Said first, so that whoever sees that it is not open can know why.
                self._worker.voice.error("source", error)
                self._count["open"] = 0
            if int(self._count["published"]) > frames_before:
                backoff = FIRST_BACKOFF
            self._pause(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF)
        self._count["ended"] = 1
        self._writer.close()

    def _open(self) -> Source:
        plan = self._worker.plan
        self._count["tried_ns"] = time.monotonic_ns()
        source = self._opened()
        self._count["epoch"] += 1
        self._count["tried_ns"] = self._count["read_ns"] = time.monotonic_ns()
        self._count["open"] = 1
        self._live = source.live
        mode = choose_mode(source, plan.every_frame)
        facts = SourceFacts(
            source.name, source.live, source.fps, source.frame_size, source.frame_count, source.format, mode
        )
        self._worker.voice.say("opened", epoch=int(self._count["epoch"]), **asdict(facts))
        self._mode = mode
        return source

    def _opened(self) -> Source:
        """The source; what a drawn one does is timed from when the loop was told to go."""
        plan, go_ns = self._worker.plan, int(self._worker.board.supervisor["go"])
        source: Source = plan.part(0)(with_start(plan.source, go_ns) if go_ns else plan.source, plan.wanted)
        return source

    def _begun(self, source: Source) -> Source:
        """The source, or a drawn one anew, once the loop is told to go."""
        waited = False
        while not self._worker.board.supervisor["go"] and not self._stopping():
            self._pass_the_time(source)
            waited = True
        address = self._worker.plan.source
        return self._opened() if waited and with_start(address, 1) != address else source

    def _pass_the_time(self, source: Source) -> None:
        """A stream queues while the model loads; what is read late would be stamped as if it were new."""
        if isinstance(source, LiveCamera):
            source.skip()
        else:
            time.sleep(_POLL_SECONDS / 10)

    def _read_all(self, source: Source) -> None:
        """One epoch; a live source has no end, and one that ends all the same is lost."""
        end_collections(self._count)
        self._look_anew()
        count, skipped = self._count, int(self._count["skipped"])
        pace = Pace(source, self._mode, self._stopping, int(count["first_ns"]))
        try:
            for read in pace:
                count["skipped"], count["first_ns"] = skipped + pace.skipped, pace.first_ns
                self._take(read)
        except SourceError as error:
            if source.live:
                raise
            self._worker.voice.error("fatal", error)  # what was read of a file is still segmented
        finally:
            count["skipped"] = skipped + pace.skipped
            count["position"] = max(int(count["position"]), pace.position)
        if source.live and not self._stopping() and source.frame_count is None:
            raise SourceError(
                source.name,
                expected="a camera or stream that goes on",
                found="its end",
                next_step="Check the camera, its cable or the network.",
            )

    def _may_come_back(self) -> bool:
        """A file that fails stays as it is; a camera that was never there is a mistake in the command."""
        return int(self._count["epoch"]) > 0 and self._live

    def _look_anew(self) -> None:
        """What is known of a camera's pictures ends with its epoch."""
        frozen_ms = self._worker.plan.budgets.frozen_ms
        self._gate, self._view = SequenceGate(), ViewCheck()
        self._seen, self._seen_since_ns = "", 0
        self._frozen = FrozenCheck(frozen_ms) if self._live and frozen_ms else None

    def _take(self, read: Read) -> None:
        """Count what was read, and hand it on if it is a new whole picture."""
        count = self._count
        count["read"] += 1
        count["tried_ns"] = time.monotonic_ns()
        damage = read.damage or _damage(read.frame)
        if damage or read.frame is None:
            count["corrupt"] += 1
            self._worker.voice.say("corrupt", found=damage)
            return
        frame = read.frame
        arrival = self._gate.see(frame.sequence)
        count["lost"] += arrival.lost
        if arrival.order != "new":
            count[arrival.order] += 1
            return
        if self._mode == "every-frame":
            while not self._stopping() and not self._writer.wait_taken(_POLL_SECONDS):
                pass
        self._publish(frame, read.position)
        # While inference is at work on it: whoever stamps its mask reads on the board what was found.
        self._judge_view(frame)

    def _judge_view(self, frame: Frame) -> None:
        """What is wrong with the picture, if anything, and since when."""
        now_ns = time.monotonic_ns()
        seen: str = self._view.see(frame.image) if self._live else ""
        if seen != self._seen:
            self._seen, self._seen_since_ns = seen, now_ns
        # A tunnel's mouth or the sun blinds a camera for a frame or two.
        lasting = seen and now_ns - self._seen_since_ns >= VIEW_NS
        frozen = self._frozen is not None and self._frozen.see(frame.image, now_ns)
        view = VIEWS.index("frozen" if frozen else seen if lasting else "")
        if view != int(self._count["view"]):
            # It has lasted for a while before it counts.
            frozen_ns = round(self._worker.plan.budgets.frozen_ms * 1e6)
            self._count["view_since_ns"] = now_ns - frozen_ns if frozen else self._seen_since_ns
            self._count["view"] = view

    def _publish(self, frame: Frame, position: int) -> None:
        count, (height, width) = self._count, frame.image.shape[:2]
        with self._writer.slot() as slot:
            np.copyto(slot.payload("image", frame.image.shape), frame.image)
            slot.fields.update(
                frame=int(count["read"]),
                epoch=int(count["epoch"]),
                position=position,
                captured_ns=frame.captured_ns,
                ready_ns=time.monotonic_ns(),
                driver_clock=frame.clock == "driver",
                decode_ms=frame.decode_ms,
                height=height,
                width=width,
                view=int(count["view"]),
            )
        count["published"] += 1
        count["position"] = position
        count["read_ns"] = time.monotonic_ns()

    def _account_for_the_dead(self) -> None:
        """A frame that the process before this one had read and never handed on is none of use."""
        count = self._count
        count["open"] = 0
        # It may have been ended between handing a frame on and counting it: the ring knows.
        count["published"] = self._writer.sequence
        count["corrupt"] += int(count["read"]) - sum(
            int(count[name]) for name in ("published", "corrupt", "duplicate", "reordered")
        )

    def _stopping(self) -> bool:
        return self._worker.stopping

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopping() and time.monotonic() < until:
            time.sleep(min(_POLL_SECONDS, seconds))


def _damage(frame: Frame | None) -> str:
    """What makes a frame none that the loop can take; empty where nothing does."""
    if frame is None:
        return "no picture"
    image = frame.image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        is_array = isinstance(image, np.ndarray)
        return f"{image.dtype} {list(image.shape)}" if is_array else type(image).__name__
    pixels = image.shape[0] * image.shape[1]
    if not 0 < pixels <= LARGEST_FRAME:
        return f"{image.shape[1]}×{image.shape[0]} pixels, where there is room for {LARGEST_FRAME}"
    return ""
