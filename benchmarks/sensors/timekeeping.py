"""Whether the clocks of a run can be trusted."""

from __future__ import annotations

import numpy as np

from edgeseg.benchmarks.sensors.sampler import Recording

WALL_STEP_S = 0.1
"""A wall clock that is set right gently moves by less than a hundredth of this in a second."""
_GAP_PERIODS = 5
_GAP_S = 2.0


def time_problems(recording: Recording) -> tuple[str, ...]:
    """What is wrong with the time of a recording, in sentences; empty where nothing is.

    A monotonic clock cannot go back: where it did, no time of the run means anything. A wall clock that
    jumped harms no latency, which is taken from the monotonic clock, but dates and other logs do not fit.
    Where no sample came for long, the machine slept, was stopped, or was too busy to measure anything.
    """
    steps = np.diff(recording.times_ns) / 1e9
    drift = np.diff(recording.wall_ns) / 1e9 - steps
    longest = max(_GAP_S, _GAP_PERIODS * recording.period_s)
    problems = [
        *(f"the monotonic clock went back by {-step:.3f} s" for step in steps if step < 0),
        *(
            f"the wall clock jumped by {jump:+.3f} s against the monotonic one"
            for jump, step in zip(drift, steps, strict=True)
            if abs(jump) > WALL_STEP_S and step >= 0
        ),
        *(
            f"no sensor was read for {step:.1f} s: the machine slept, was stopped or was overloaded"
            for step in steps
            if step > longest
        ),
    ]
    return tuple(problems)
