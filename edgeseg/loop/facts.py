"""What the board says, turned into facts that the state is decided by."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from edgeseg.loop.board import MOST_SINKS, VIEWS, Board
from edgeseg.loop.plan import Budgets, SourceFacts
from edgeseg.loop.states import WAITING, Facts

LATE_IN_A_ROW = 3
SLOWER = 1.8
"""Inference that takes so many times as long as at first has a cause that someone should look for."""
_WINDOW_NS = 1_000_000_000
_NS_PER_MS = 1e6

# What is counted in the last second, the share of its frames that is borne, and how more of it is said; the
# gravest first.
_COUNTED = (
    ("inference", "failed", 0.0, "inference: {} frame(s) failed in a second"),
    ("capture", "corrupt", 0.1, "camera: {} damaged frame(s) in a second"),
    ("capture", "duplicate", 0.1, "camera: {} frame(s) given twice in a second"),
    ("capture", "reordered", 0.1, "camera: {} frame(s) out of order in a second"),
    # After the others: one that is overtaken counts as lost until it comes.
    ("capture", "lost", 0.1, "camera: {} frame(s) lost in a second"),
)


@dataclass(frozen=True)
class Known:
    """What the supervisor knows beside the board, in words: why something does not run, why the loop ends."""

    capture_ended: str = ""
    inference_ended: str = ""
    sinks_ended: str = ""
    source_error: str = ""
    ending: str = ""


class Watch:
    """Makes facts of the board, moment by moment.

    Args:
        source: What is read.
        budgets: How long what may take.
        started_ns: When the loop was told to go.
    """

    def __init__(self, board: Board, source: SourceFacts, budgets: Budgets, started_ns: int) -> None:
        self._board, self._source, self._budgets = board, source, budgets
        self._started_ns = started_ns
        self._past: deque[tuple[int, tuple[int, ...]]] = deque()

    def facts(self, now_ns: int, known: Known) -> Facts:
        masks = int(self._board.inference["finished"])
        if known.ending:
            return Facts(masks=masks, ending=known.ending)
        waits = self._source.mode == "every-frame"
        failures = [*self._camera(now_ns, known), *self._inference(now_ns, known)]
        troubles = [] if waits else self._lateness()
        troubles += [*self._counted(now_ns), *self._sinks(known)]
        return Facts(tuple(failures), tuple(troubles), masks)

    def stalled_ms(self, now_ns: int) -> float:
        """For how long the camera has given no whole frame beyond two periods; negative while it does."""
        return self._without(now_ns, "read_ns")

    def silent_ms(self, now_ns: int) -> float:
        """The same of frames of any kind: a camera whose frames are all damaged is not silent."""
        return self._without(now_ns, "tried_ns")

    def _without(self, now_ns: int, field: str) -> float:
        since_ns = max(int(self._board.capture[field]), self._started_ns)
        return (now_ns - since_ns) / _NS_PER_MS - 2 * self._source.period_ms

    def hung_ms(self, now_ns: int) -> float:
        """For how long one inference has been at work; 0 between frames."""
        busy_since = int(self._board.inference["busy_since_ns"])
        return (now_ns - busy_since) / _NS_PER_MS if busy_since else 0.0

    def _camera(self, now_ns: int, known: Known) -> list[str]:
        capture, live = self._board.capture, self._source.live
        if int(capture["ended"]):
            return []  # nothing more is expected of it
        if known.capture_ended:
            return [f"camera: its process ended ({known.capture_ended})"]
        if live and not int(capture["open"]):
            return [f"camera: {known.source_error or 'opening it again'}"]
        view = VIEWS[int(capture["view"])]
        if view:
            since = (now_ns - int(capture["view_since_ns"])) / 1e9
            return [f"camera: the picture is {view}, for {since:.1f} s"]
        stalled_ms = self.stalled_ms(now_ns)
        if live and stalled_ms > self._budgets.stall_ms:
            return [f"camera: no frame for {(stalled_ms + 2 * self._source.period_ms) / 1000:.1f} s"]
        return []

    def _inference(self, now_ns: int, known: Known) -> list[str]:
        inference = self._board.inference
        if known.inference_ended:
            return [f"inference: its process ended ({known.inference_ended}), starting another"]
        if not int(inference["ready"]):
            return [f"{WAITING}the model to load"]
        hung_ms = self.hung_ms(now_ns)
        if hung_ms > self._budgets.hang_ms:
            return [f"inference: no answer for {hung_ms / 1000:.1f} s"]
        if int(inference["failed_in_a_row"]) > 1:
            return [f"inference: {int(inference['failed_in_a_row'])} frames failed in a row"]
        return []

    def _lateness(self) -> list[str]:
        inference, said = self._board.inference, []
        if int(inference["late_in_a_row"]) >= LATE_IN_A_ROW:
            age, deadline = float(inference["age_ms"]), self._budgets.deadline_ms
            said.append(f"masks are late: {age:.0f} ms old, deadline {deadline:.0f} ms")
        if float(inference["slowdown"]) >= SLOWER:
            said.append(f"inference is {float(inference['slowdown']):.1f} times slower than at first")
        return said

    def _counted(self, now_ns: int) -> list[str]:
        sections = {"capture": self._board.capture, "inference": self._board.inference}
        counts = tuple(int(sections[section][name]) for section, name, _, _ in _COUNTED)
        self._past.append((now_ns, counts))
        while now_ns - self._past[0][0] > _WINDOW_NS:
            self._past.popleft()
        before = self._past[0][1]
        return [
            words.format(now - then)
            for (_, _, share, words), now, then in zip(_COUNTED, counts, before, strict=True)
            if now - then > share * self._source.fps
        ]

    def _sinks(self, known: Known) -> list[str]:
        if known.sinks_ended:
            return [f"sinks: their process ended ({known.sinks_ended})"]
        failed = sum(int(self._board.sink(index)["failed"]) for index in range(MOST_SINKS))
        return [f"{failed} sink(s) failed"] if failed else []
