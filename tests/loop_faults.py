"""Bundles whose inference fails as inference fails; the loop's processes import this by name."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np

import edgeseg
from edgeseg.errors import InferenceError
from scripted import Order, Script

LOAD = "loop_faults:load"


def load(path: str, **options: Any) -> Any:
    """``BUNDLE?fault=KIND@FRAME[xCOUNT]&once=FILE&sleep=SECONDS&script=FILE``: its runtime has a fault.

    From the FRAME-th inference on, COUNT times (by default once). With ``once`` only in the first
    process that comes to it: it makes the file. ``script`` has more of them, by the clock: see ``scripted``.
    """
    place, _, query = path.partition("?")
    given = {name: values[0] for name, values in parse_qs(query).items()}
    segmenter = edgeseg.load(place, **{**options, "isolate": False})
    sleep = float(given.get("sleep", 0))
    kind, _, when = given.get("fault", "@-1").partition("@")
    first, _, count = when.partition("x")
    at = range(int(first), int(first) + int(count or 1))
    script = Script(Path(given["script"])) if "script" in given else None
    segmenter._runtime = Faulty(segmenter._runtime, kind, at, given.get("once"), sleep, script)
    return segmenter


class Faulty:
    """The runtime, until its fault comes."""

    def __init__(
        self, runtime: Any, kind: str, at: range, once: str | None, sleep: float, script: Script | None = None
    ) -> None:
        self.__dict__.update(name=runtime.name, threads=runtime.threads, computes_in=None)
        self._runtime, self._kind, self._at, self._sleep = runtime, kind, at, sleep
        self._once = Path(once) if once else None
        self._script = script
        self._done: dict[Order, int] = {}
        self._calls = 0
        self.close = runtime.close

    def infer(self, image: np.ndarray) -> Any:
        self._calls += 1
        time.sleep(self._sleep)
        raw = self._runtime.infer(image)
        if self._calls in self._at and self._may():
            return FAULTS[self._kind](raw)
        order = self._ordered()
        return raw if order is None else FAULTS[order.kind](raw)

    def _ordered(self) -> Order | None:
        now_ns = time.monotonic_ns()
        for order in self._script.orders() if self._script else ():
            done = self._done.get(order, 0)
            if order.holds_at(now_ns) and not 0 < order.once <= done:
                self._done[order] = done + 1
                return order
        return None

    def _may(self) -> bool:
        if self._once is None:
            return True
        if self._once.exists() and self._calls == self._at[0]:
            return False
        self._once.touch()
        return True


def _hang(raw: Any) -> Any:
    """In C, with the interpreter's lock held: not even another thread of the process can say so."""
    ctypes.PyDLL(None).sleep(1000)
    return raw


def _raise(raw: Any) -> Any:
    raise InferenceError("frame", expected="a mask", found="a fault", next_step="None.")


def _other(raw: Any) -> Any:
    raise RuntimeError("not what a runtime should raise")


def _memory(raw: Any) -> Any:
    raise MemoryError


def _class(raw: Any) -> Any:
    raw.mask[0, 0] = 200
    return raw


def _wrong_shape(raw: Any) -> Any:
    return replace(raw, mask=raw.mask[:-1])


def _nan(raw: Any) -> Any:
    """What a network says whose sums have overflowed, in place of class ids."""
    return replace(raw, mask=np.full(raw.mask.shape, np.nan, np.float32))


def _slow(raw: Any) -> Any:
    time.sleep(0.3)
    return raw


def _twice(raw: Any) -> Any:
    """As long again as the ``sleep`` of 20 ms that goes with it."""
    time.sleep(0.02)
    return raw


def _fallback(raw: Any) -> Any:
    """The accelerator is gone, and a CPU goes on in its place: five times as long, without a word."""
    time.sleep(0.08)
    return raw


_heat: list[float] = [0.0]


def _ramp(raw: Any) -> Any:
    """A chip that slows down a little with every frame, to four times as long."""
    _heat[0] = min(_heat[0] + 0.0005, 0.06)
    time.sleep(_heat[0])
    return raw


def _collect(raw: Any) -> Any:
    """A library that turns automatic garbage collection on again."""
    gc.enable()
    gc.set_threshold(10)
    rings: list[Any] = []
    for _ in range(100):
        rings.append(rings)
        rings = [rings]
    return raw


def _killed(raw: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)
    return raw


def _segfault(raw: Any) -> Any:
    ctypes.string_at(0)
    return raw


FAULTS: dict[str, Callable[[Any], Any]] = {
    "hang": _hang,
    "raise": _raise,
    "other": _other,
    "memory": _memory,
    "class": _class,
    "shape": _wrong_shape,
    "nan": _nan,
    "slow": _slow,
    "twice": _twice,
    "fallback": _fallback,
    "ramp": _ramp,
    "collect": _collect,
    "killed": _killed,
    "segfault": _segfault,
}
