"""What became of every frame: an account that must balance at any moment."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from edgeseg.loop.board import Board


@dataclass(frozen=True)
class Ledger:
    """Frames, and what became of them.

    ``captured = inferred + overwritten + stale + failed + unusable + in_flight``.

    Args:
        captured: That the source gave, whole or not.
        inferred: Given a mask.
        overwritten: Replaced by a newer frame before inference could take them.
        stale: Too old when inference took them, and thrown away.
        failed: On which inference failed, those in hand when its process died included.
        unusable: Corrupt, doubled or out of order: never given to inference.
        in_flight: On their way.
        corrupt, duplicate, reordered: Parts of ``unusable``.
        lost: Never given to the loop, by the driver's own numbers.
        skipped: Of a file, passed over undecoded because reading was late.
        late: Masks older than the deadline, which are ``inferred`` too.
    """

    captured: int
    inferred: int
    overwritten: int
    stale: int
    failed: int
    unusable: int
    in_flight: int
    corrupt: int
    duplicate: int
    reordered: int
    lost: int
    skipped: int
    late: int

    @property
    def dropped(self) -> int:
        return self.overwritten + self.stale + self.skipped

    def to_dict(self) -> dict[str, int]:
        return asdict(self)


def read_ledger(board: Board) -> Ledger:
    """The account as the board has it. While the loop runs, ``in_flight`` takes up what is counted late."""
    capture, inference = board.capture, board.inference
    # In the order in which a frame goes, backwards: what is read later can only have grown.
    inferred, failed, stale = (int(inference[name]) for name in ("finished", "failed", "stale"))
    torn, published = int(inference["torn"]), int(capture["published"])
    passed = int(inference["passed"])
    # Inference counts what has passed when it takes the next frame; until then, and where it hangs or is
    # gone for seconds, all that were handed on but the newest have passed.
    overwritten = passed + max(0, published - passed - int(inference["taken"]) - 1)
    corrupt, duplicate, reordered = (int(capture[name]) for name in ("corrupt", "duplicate", "reordered"))
    captured = int(capture["read"])
    unusable = corrupt + duplicate + reordered
    accounted = inferred + overwritten + torn + stale + failed + unusable
    return Ledger(
        captured=captured,
        inferred=inferred,
        overwritten=overwritten + torn,
        stale=stale,
        failed=failed,
        unusable=unusable,
        in_flight=captured - accounted,
        corrupt=corrupt,
        duplicate=duplicate,
        reordered=reordered,
        lost=int(capture["lost"]),
        skipped=int(capture["skipped"]),
        late=int(inference["late"]),
    )
