"""What else the machine did while something was measured on it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeseg.benchmarks.process_sample import TICK_SECONDS, sample

_IDLE, _IOWAIT, _STEAL, _COUNTED = 3, 4, 7, 8


@dataclass(frozen=True)
class Conditions:
    """Between two moments.

    Args:
        seconds: From one to the other, by the clock that never goes back.
        stolen: Share of the processors' time that a hypervisor gave to other machines, 0 to 1; ``None`` where
            the kernel does not say.
        others: Share of it that processes took which are not the benchmark's, likewise.
        clock_jump_seconds: By how much the wall clock went further than that clock; negative where it went
            back.
    """

    seconds: float
    stolen: float | None
    others: float | None
    clock_jump_seconds: float

    def to_dict(self) -> dict[str, float | None]:
        return {key: value if value is None else round(value, 4) for key, value in asdict(self).items()}


class Watch:
    """Looks at the machine when it is made, and again when it is asked.

    Args:
        pids: The benchmark's own processes beside this one.
        stat: The kernel's count of the processors' time.
    """

    def __init__(self, pids: Sequence[int], stat: Path = Path("/proc/stat")) -> None:
        self._own, self._stat = dict.fromkeys((os.getpid(), *pids), 0.0), stat
        self._start = self._look()

    def conditions(self) -> Conditions:
        """From the beginning until now."""
        start, now = self._start, self._look()
        seconds = (now.monotonic_ns - start.monotonic_ns) / 1e9
        wall = (now.wall_ns - start.wall_ns) / 1e9
        stolen = others = None
        if start.ticks and now.ticks:
            passed = [b - a for a, b in zip(start.ticks, now.ticks, strict=True)]
            whole = max(sum(passed), 1)
            busy = whole - passed[_IDLE] - passed[_IOWAIT] - passed[_STEAL]
            ours = (now.own_seconds - start.own_seconds) / TICK_SECONDS
            stolen, others = passed[_STEAL] / whole, max(0.0, busy - ours) / whole
        return Conditions(seconds, stolen, others, wall - seconds)

    def _look(self) -> _Moment:
        for pid in self._own:
            # What one that died had used stays ours.
            self._own[pid] = found.cpu_seconds if (found := sample(pid)) else self._own[pid]
        return _Moment(time.monotonic_ns(), time.time_ns(), sum(self._own.values()), self._ticks())

    def _ticks(self) -> tuple[int, ...]:
        try:
            fields = self._stat.read_text().split(maxsplit=_COUNTED + 1)
        except OSError:
            return ()
        # Time of guests is in that of users already.
        return tuple(map(int, fields[1 : _COUNTED + 1])) if len(fields) > _COUNTED else ()


@dataclass(frozen=True)
class _Moment:
    monotonic_ns: int
    wall_ns: int
    own_seconds: float
    ticks: tuple[int, ...]
