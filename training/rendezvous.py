"""The workers of a run wait for one another before TensorFlow does: it waits without end, deaf to Ctrl-C."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

from edgeseg.errors import TrainingError

START_SECONDS = 300.0
"""How long a worker waits for the others."""

_RETRY_SECONDS = 0.2
_HELLO_SECONDS = 2.0
_HERE, _GO = b"edgeseg worker %d\n", b"edgeseg go\n"


def meet(workers: Sequence[str], index: int, seconds: float = START_SECONDS) -> None:
    """Return as soon as all workers are there.

    The first one listens at its own address and answers when every other has called; then the address is free
    again.

    Args:
        workers: ``HOST:PORT`` of each.
        index: This one's place among them.
        seconds: How long to wait.

    Raises:
        TrainingError: One is missing by then, or this one's port is taken.
    """
    until = time.monotonic() + seconds
    host, _, port = workers[0].rpartition(":")
    try:
        if index == 0:
            _gather(host, int(port), len(workers), until)
        else:
            _report(host, int(port), index, until)
    except (OSError, EOFError) as error:
        raise TrainingError(
            f"--workers {','.join(workers)}, as worker {index}",
            expected=f"all workers to be there within {seconds:.0f} seconds",
            found=str(error) or type(error).__name__,
            next_step="Start all of them at about the same time with the same --workers, each with its own "
            "--worker-index, and see that the ports are free and reachable.",
        ) from error


def _gather(host: str, port: int, count: int, until: float) -> None:
    callers: dict[int, socket.socket] = {}
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((_any_if_remote(host), port)))
        while missing := [number for number in range(1, count) if not _is_there(callers.get(number))]:
            server.settimeout(_left(until, f"nothing from worker {', '.join(map(str, missing))}"))
            try:
                caller = stack.enter_context(server.accept()[0])
            except TimeoutError:
                continue
            number = _number_of(caller)
            if number is not None and 0 < number < count:
                # One that calls again was started again.
                callers[number] = caller
        for caller in callers.values():
            caller.sendall(_GO)


def _report(host: str, port: int, index: int, until: float) -> None:
    reason = "nothing"
    while True:
        left = _left(until, f"no answer of worker 0 ({reason})")
        try:
            with socket.create_connection((host, port), timeout=left) as caller:
                caller.sendall(_HERE % index)
                if _line(caller) == _GO:
                    return
        except OSError as error:
            reason = str(error)
        time.sleep(_RETRY_SECONDS)


def _is_there(caller: socket.socket | None) -> bool:
    """Whether a worker called and still waits: one that died since has hung up."""
    if caller is None:
        return False
    caller.setblocking(False)
    try:
        return caller.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        caller.settimeout(_HELLO_SECONDS)


def _any_if_remote(host: str) -> str:
    """Where to listen: an address may lead here without being one of an interface, but loopback is one."""
    return host if host in ("127.0.0.1", "localhost") else ""


def _left(until: float, complaint: str) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError(complaint)
    return left


def _line(caller: socket.socket) -> bytes:
    with caller.makefile("rb") as file:
        return file.readline(64)


def _number_of(caller: socket.socket) -> int | None:
    """The worker that says it is here; ``None`` for a stranger, who may say nothing."""
    caller.settimeout(_HELLO_SECONDS)
    try:
        words = _line(caller).split()
    except OSError:
        return None
    known = len(words) == 3 and words[:2] == [b"edgeseg", b"worker"] and words[2].isdigit()
    return int(words[2]) if known else None
