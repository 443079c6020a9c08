"""The process of the sinks: each has a thread of its own, so that a slow or dead one holds up no other."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from edgeseg.labels import LabelSet
from edgeseg.loop.channel import ChannelClosedError
from edgeseg.loop.ledger import read_ledger
from edgeseg.loop.publish import Finished, Publisher
from edgeseg.loop.ring import RingReader, Taken
from edgeseg.loop.sinks import Figures, Sink, Stamp
from edgeseg.loop.states import STATES
from edgeseg.loop.worker import Worker, end_collections, work
from edgeseg.segmenter import Segmentation, Timings

FINISH_SECONDS = 1.2
"""For all sinks together, once the loop was told to stop: it must end within two seconds."""
_POLL_SECONDS = 0.05


def main() -> None:
    work(lambda worker: SinksWorker(worker).run())


class SinksWorker:
    """Copies each mask out of the ring and hands it to every sink."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._told = worker.told
        self._labels = LabelSet.from_dict(self._told["labels"])
        self._in_order = self._told["mode"] == "every-frame"
        self._abandoned = False
        self._told_of: set[int] = set()
        # Should the supervisor be gone, what is there is finished all the same.
        signal.signal(signal.SIGTERM, self._abandon)
        self._masks = RingReader(worker.masks)
        self._publishers = self._open()
        self._started, self._taken_before = time.monotonic(), int(worker.board.sinks["taken"])
        threading.Thread(target=self._hear_events, name="edgeseg-events", daemon=True).start()

    def run(self) -> None:
        """Until the masks end; then every sink is finished."""
        end_collections(self._worker.board.sinks)
        self._worker.board.sinks["ready"] = 1
        self._worker.voice.say("sinks", names=[p.sink.name for p in self._publishers.values()])
        while not self._ending:
            try:
                taken = self._masks.take(_POLL_SECONDS)
            except ChannelClosedError:
                break
            self._tell_failures()
            if taken is None:
                continue
            self._hand_on(taken)
            self._worker.board.sinks["taken"] += 1
        self._finish()

    @property
    def _ending(self) -> bool:
        return self._worker.stopping or self._abandoned

    def _open(self) -> dict[int, Publisher]:
        plan = self._worker.plan
        # Those that were lost with a process before this one stay as they are; each keeps its place.
        places = [index for index in range(len(plan.sinks)) if index not in self._told["lost_sinks"]]
        opened: list[Sink] = plan.part(2)([plan.sinks[index] for index in places], self._told["fps"])
        return {
            index: Publisher(
                sink,
                self._worker.board,
                index,
                in_order=self._in_order,
                deadline_ms=plan.budgets.deadline_ms,
            )
            for index, sink in zip(places, opened, strict=True)
        }

    def _hand_on(self, taken: Taken) -> None:
        """The mask and its picture, copied once for all sinks."""
        fields = taken.fields
        size = (fields["height"], fields["width"])
        model_size = (fields["model_height"], fields["model_width"])
        confidence = taken.payload("confidence", model_size).copy() if fields["has_confidence"] else None
        total_ms = fields["resize_ms"] + fields["infer_ms"] + fields["post_ms"]
        segmentation = Segmentation(
            taken.payload("image", (*size, 3)).copy(),
            taken.payload("mask", size).copy(),
            taken.payload("model_mask", model_size).copy(),
            confidence,
            self._labels,
            Timings(fields["resize_ms"], fields["infer_ms"], fields["post_ms"], total_ms),
            fields["captured_ns"],
            fields["finished_ns"],
            bool(fields["valid"]),
        )
        if not taken.intact:
            return
        finished = Finished(segmentation, fields["position"], self._stamp(fields), self._figures(fields))
        for publisher in self._publishers.values():
            publisher.publish(finished)

    def _stamp(self, fields: Any) -> Stamp:
        state = STATES[fields["state"]]
        return Stamp(
            sequence=fields["frame"],
            epoch=fields["epoch"],
            clock="driver" if fields["driver_clock"] else "arrival",
            state=state,
            reason="" if state == "OK" else self._worker.board.reason,
            late=bool(fields["late"]),
            digest=self._told["digest"],
        )

    def _figures(self, fields: Any) -> Figures:
        seconds = max(time.monotonic() - self._started, 1e-3)
        return Figures(
            fps=(int(self._worker.board.sinks["taken"]) - self._taken_before) / seconds,
            decode_ms=fields["decode_ms"],
            wait_ms=(fields["finished_ns"] - fields["ready_ns"]) / 1e6
            - (fields["resize_ms"] + fields["infer_ms"] + fields["post_ms"]),
            dropped=read_ledger(self._worker.board).dropped,
        )

    def _tell_failures(self) -> None:
        """Each failure once."""
        for index, publisher in self._publishers.items():
            if publisher.error is not None and index not in self._told_of:
                self._told_of.add(index)
                self._worker.voice.error("sink", publisher.error, index=index)

    def _hear_events(self) -> None:
        """What the supervisor has to tell, a line of JSON each."""
        for line in sys.stdin:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # cut off, where the pipe was full
            for publisher in self._publishers.values():
                publisher.tell(event)

    def _finish(self) -> None:
        """Every sink to its end, side by side; those that take too long once told to stop are left."""
        board = self._worker.board
        # Told to stop in the middle of a file, they have not got what capture has read ahead.
        stopped = self._in_order and self._ending
        positions = int(board.sinks["taken"]) if stopped else int(board.capture["position"]) + 1
        deadline = time.monotonic() + FINISH_SECONDS if self._ending else None
        threads = [
            # Daemons: with the supervisor gone too, one that is stuck must not keep the process.
            threading.Thread(target=p.finish, args=(positions,), daemon=True)
            for p in self._publishers.values()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        self._tell_failures()
        outputs = {index: str(p.sink.output) for index, p in self._publishers.items() if p.sink.output}
        self._worker.voice.say("outputs", paths=outputs)
        board.sinks["ended"] = 1

    def _abandon(self, _number: int, _frame: FrameType | None) -> None:
        self._abandoned = True
