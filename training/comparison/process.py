"""A call in a process of its own, whose memory goes back to the system when it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from edgeseg.errors import EdgesegError, TrainingError


def call_in_process(what: str, function: Callable[..., None], *arguments: object) -> None:
    """Call a function of a module in a fresh process, and raise here what it raises there.

    TensorFlow keeps the graph of every step that it compiled, whatever is deleted: a process that trains one
    model after another grows with each. And a run that takes all memory takes only its own process with it.

    Args:
        what: Is done there, for messages.
        function: Not a lambda and no inner function: the process finds it by its name.
        arguments: Anything that can be pickled.

    Raises:
        EdgesegError: As the function raises it, or because the process died.
        KeyboardInterrupt: It was interrupted, here or there.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_called, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        raised = ours.recv()
    except EOFError:
        process.join()
        raise _died(what, process.exitcode) from None
    except KeyboardInterrupt:
        if process.pid is not None:
            os.kill(process.pid, signal.SIGINT)
        raise
    finally:
        process.join()
    if raised is not None:
        raise raised


def _called(result: Connection, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
    # Ctrl-C reaches every process of the terminal's group: out of it, this one hears of it once, from above.
    os.setpgrp()
    # A shell starts what it puts in the background deaf to it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        function(*arguments)
    except (EdgesegError, KeyboardInterrupt) as raised:
        result.send(raised)
    else:
        result.send(None)


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
