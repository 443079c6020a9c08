"""A process of the loop: how it starts, what it is given, and how it tells the supervisor what happens.

A worker is a fresh interpreter and no fork: it has no locks, threads or open cameras of another process. Its
plan comes through stdin, its shared memory and bells as descriptors; what it has to say goes, a line of JSON
each, into a pipe that never makes it wait.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeseg.descent import die_with_parent
from edgeseg.errors import EdgesegError
from edgeseg.loop.board import Board
from edgeseg.loop.plan import FRAMES, MASKS, LoopPlan
from edgeseg.loop.ring import Ring

_LONGEST_LINE = 60_000  # of a pipe's 64 KiB
_LONGEST_TEXT = 2_000


@dataclass(frozen=True)
class Descriptors:
    """What a worker inherits, by number."""

    board: int
    frames: tuple[int, ...]
    masks: tuple[int, ...]

    @property
    def all(self) -> tuple[int, ...]:
        return (self.board, *self.frames, *self.masks)


def work(run: Callable[[Worker], None]) -> None:
    """Become a worker and do its work; what ends it is told first."""
    worker = enter()
    try:
        run(worker)
    except Exception as error:
        worker.voice.error("fatal", error)
        raise SystemExit(1) from error


class Voice:
    """Lines of JSON to the supervisor. One that does not fit its pipe is left out rather than waited for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    def say(self, kind: str, **values: Any) -> None:
        line = json.dumps({"kind": kind, **values})[:_LONGEST_LINE] + "\n"
        try:
            os.write(self._fd, line.encode())
        except (BlockingIOError, BrokenPipeError):
            return

    def error(self, kind: str, error: BaseException, **more: Any) -> None:
        """An error whose parts are kept, so that the supervisor can raise it."""
        if isinstance(error, EdgesegError):
            parts = {name: getattr(error, name) for name in ("subject", "expected", "found", "next_step")}
            name = type(error).__name__
        else:
            parts, name = {"found": f"{type(error).__name__}: {error}"}, ""
        self.say(kind, error=name, parts={key: text[:_LONGEST_TEXT] for key, text in parts.items()}, **more)


@dataclass(frozen=True)
class Worker:
    """What a worker has."""

    plan: LoopPlan
    board: Board
    frames: Ring
    masks: Ring
    voice: Voice
    told: Mapping[str, Any]

    @property
    def stopping(self) -> bool:
        return self.board.stopping


def enter() -> Worker:
    """Become a worker: read what it is given from stdin."""
    given = json.loads(sys.stdin.readline())
    die_with_parent(int(given["parent"]), signal.Signals(given["when_parent_dies"]))
    plan = LoopPlan.from_json(given["plan"])
    return Worker(
        plan=plan,
        board=Board.attach(given["board"]),
        frames=Ring.attach(FRAMES, tuple(given["frames"])),
        masks=Ring.attach(MASKS, tuple(given["masks"])),
        voice=Voice(given["voice"]),
        told=given["told"],
    )


_counted: list[Any] = []


def end_collections(section: Any) -> None:
    """End automatic garbage collection: a pause of milliseconds, at a moment that nobody chose.

    What is alive by now is never looked at again. Collections that happen all the same, since some library
    turned them on again, are counted on the board; the one here, at a moment that was chosen, is not. Nothing
    of the loop makes cycles for each frame, which is what they are for.
    """
    _counted.clear()
    gc.collect()
    gc.freeze()
    gc.disable()
    _counted.append(section)
    if _count_collection not in gc.callbacks:
        gc.callbacks.append(_count_collection)


def _count_collection(phase: str, _info: Mapping[str, int]) -> None:
    if phase == "start" and _counted:
        _counted[0]["collections"] += 1
