"""The loop's report as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseg.cli.console import print_table

if TYPE_CHECKING:
    from edgeseg.loop import LoopReport


def print_report(result: LoopReport) -> None:
    """Times, frames, and how the loop's states went."""
    times = {**result.stages, "age of the finished mask": result.age}
    times |= {f"age at {sink.name}": sink.age for sink in result.sinks}
    print_table(
        f"{result.bundle} ({result.signature}) on {result.source} ({result.source_format}): {result.mode}, "
        f"{result.runtime}, {result.threads} thread(s)",
        ("milliseconds", "p50", "p90", "p99", "p99.9", "max"),
        [
            (name, *(f"{value:.2f}" for value in (t.p50, t.p90, t.p99, t.p999, t.max)))
            for name, t in times.items()
        ],
    )
    print_table(
        f"{result.ended} after {result.seconds:.1f} s, {result.fps:.1f} masks a second",
        ("frames", "count"),
        _frames(result),
    )
    if set(result.states) - {"STARTING", "OK", "STOPPING"} or result.restarts or result.epochs > 1:
        print_table("States", ("", ""), _states(result))


def _frames(result: LoopReport) -> list[tuple[str, object]]:
    ledger = result.ledger
    rows: list[tuple[str, object]] = [
        ("captured", ledger.captured),
        ("segmented", ledger.inferred),
        ("overwritten by a newer one", ledger.overwritten),
        ("too old before inference", ledger.stale),
        ("passed over, source too slow", ledger.skipped),
    ]
    rare = [
        ("damaged", ledger.corrupt),
        ("given twice by the camera", ledger.duplicate),
        ("out of order", ledger.reordered),
        ("lost by the camera", ledger.lost),
        ("on which inference failed", ledger.failed),
        ("in flight at the end", ledger.in_flight),
        ("masks older than the deadline", ledger.late),
    ]
    rows += [row for row in rare if row[1]]
    rows += [(f"masks that {sink.name} took", sink.written) for sink in result.sinks]
    return rows


def _states(result: LoopReport) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [(f"seconds {name}", f"{s:.1f}") for name, s in result.states.items()]
    rows += [(f"restarts of {role}", count) for role, count in result.restarts.items()]
    rows.append(("times the source was opened", result.epochs))
    return rows
