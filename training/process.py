"""A call in a process of its own, whose memory goes back to the system when it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from edgeseg.errors import EdgesegError, TrainingError
from edgeseg.training.allocator import keep_freed_memory

Answer = Callable[[Any], Any]
"""What is asked there, answered here."""


def call_in_process(
    what: str, function: Callable[..., Any], *arguments: object, answer: Answer | None = None
) -> Any:
    """Call a function of a module in a fresh process; give here what it gives, raise here what it raises.

    TensorFlow keeps the graph of every step that it compiled, whatever is deleted: a process that trains one
    model after another grows with each. And a run that takes all memory takes only its own process with it.

    Args:
        what: Is done there, for messages.
        function: Not a lambda and no inner function: the process finds it by its name.
        arguments: Anything that can be pickled.
        answer: Where given, the function's first argument is one that it may call with anything that can be
            pickled: ``answer`` is called with it here, and what it gives is given there.

    Raises:
        EdgesegError: As the function raises it, or because the process died.
        KeyboardInterrupt: It was interrupted, here or there.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_called, args=(theirs, function, arguments, answer is not None))
    process.start()
    theirs.close()
    try:
        ended = _ended(ours, answer)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        process.join()
        raise _died(what, process.exitcode) from None
    except BaseException:
        # Ctrl-C, or what the answer raised: the process is to end too, as if it had been interrupted.
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGINT)
        raise
    finally:
        process.join()
    if ended.raised is not None:
        raise ended.raised
    return ended.given


@dataclass(frozen=True)
class _Asked:
    """What the process wants an answer to."""

    message: Any


@dataclass(frozen=True)
class _Ended:
    """The last that the process says."""

    given: Any = None
    raised: BaseException | None = None


def _ended(there: Connection, answer: Answer | None) -> _Ended:
    while True:
        said: _Asked | _Ended = there.recv()
        if isinstance(said, _Ended):
            return said
        if answer is not None:
            there.send(answer(said.message))


def _called(
    above: Connection, function: Callable[..., Any], arguments: tuple[object, ...], may_ask: bool
) -> None:
    # Ctrl-C reaches every process of the terminal's group: out of it, this one hears of it once, from above.
    os.setpgrp()
    # A shell starts what it puts in the background deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    keep_freed_memory()
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def ask(message: Any) -> Any:
        above.send(_Asked(message))
        return above.recv()

    try:
        ended = _Ended(function(ask, *arguments) if may_ask else function(*arguments))
    except (EdgesegError, KeyboardInterrupt) as raised:
        ended = _Ended(raised=raised)
    above.send(ended)


def _end_with_parent() -> None:
    """A parent that was killed cannot say so; training on would be in the way of the next start."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        # A signal, for it wakes a main thread that waits.
        os.kill(os.getpid(), signal.SIGINT)


def _died(what: str, exit_code: int | None) -> TrainingError:
    killed = exit_code is not None and exit_code < 0
    return TrainingError(
        what,
        expected="a process that ends by itself",
        found=f"one killed by {signal.Signals(-exit_code).name}" if killed else f"exit code {exit_code}",
        next_step="Where memory ran out, lower --batch or --size. The same command continues.",
    )
