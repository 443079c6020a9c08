"""What makes a run's numbers less than they seem, in words that are written beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgeseg.benchmarks.conditions import Conditions
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.latency import Latency

# Three runs of one bundle should have medians within 3 % of one another: a run whose own median is less sure
# than that cannot promise it.
_WIDEST_INTERVAL = 0.03
_WIDEST_ROUNDS = 0.10
_MOST_OTHERS = 0.05
_MOST_STOLEN = 0.02
_LARGEST_JUMP_SECONDS = 1.0


def marks_of(
    host: Host, conditions: Conditions | None, latencies: Sequence[tuple[str, Latency]]
) -> tuple[str, ...]:
    """One sentence for each thing that was wrong; none for a run that can be trusted.

    Args:
        host: The machine before the start.
        conditions: What else it did meanwhile; ``None`` where that was not watched.
        latencies: Name and latency of each model.
    """
    marks = list(_of_machine(host, conditions))
    for name, latency in latencies:
        marks += [f"{name}: {text}" for text in _of_model(latency)]
    return tuple(marks)


def _of_machine(host: Host, conditions: Conditions | None) -> Iterator[str]:
    if host.busy:
        yield f"noisy: the machine was busy before the start, load average {host.load} on {host.cores} cores"
    if conditions is None:
        return
    if (conditions.others or 0) > _MOST_OTHERS:
        yield f"noisy: other processes took {100 * (conditions.others or 0):.0f} % of the processors"
    if (conditions.stolen or 0) > _MOST_STOLEN:
        yield f"noisy: other virtual machines took {100 * (conditions.stolen or 0):.0f} % of the processors"
    if abs(conditions.clock_jump_seconds) > _LARGEST_JUMP_SECONDS:
        went = "back" if conditions.clock_jump_seconds < 0 else "forward"
        yield (
            f"clock: the wall clock was set {went} by {abs(conditions.clock_jump_seconds):.0f} s meanwhile; "
            "times are of another clock, which never is, but the date of this run is not sure"
        )


def _of_model(latency: Latency) -> Iterator[str]:
    if latency.failure:
        yield f"incomplete: it ended after {len(latency.round_p50)} rounds: {latency.failure}"
    if not latency.warmed_up.stable:
        yield f"noisy: its times did not hold still in {latency.warmed_up.frames} frames of warm-up"
    p50 = latency.total.p50
    low, high = latency.intervals.get("p50", (p50, p50))
    lowest, highest = min(latency.round_p50), max(latency.round_p50)
    if high - low > _WIDEST_INTERVAL * p50:
        yield f"noisy: its median is not sure to 3 %, but between {low:.2f} and {high:.2f} ms"
    elif highest - lowest > _WIDEST_ROUNDS * p50:
        yield f"noisy: the medians of its rounds lie between {lowest:.2f} and {highest:.2f} ms"
