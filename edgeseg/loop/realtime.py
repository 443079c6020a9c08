"""Real-time scheduling and memory that stays, for the processes of the loop: had from the system, or refused.

The supervisor stands above the others: it must be able to end a process that has run wild on every core.
Capture stands above inference, for a frame that is fetched late is lost. The sinks stay with everything else
that the machine does.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeseg.errors import UsageError

PRIORITIES = {"inference": 10, "capture": 20, "supervisor": 30}
"""Of ``SCHED_FIFO``, 1 to 99; low, so that what the kernel and other programs do in real time goes first."""
CORES_TO_PIN = 4
"""With fewer, a process that is bound to some of them would only wait while others idle."""
_LOCK_NOW, _LOCK_LATER, _LOCK_ON_FAULT = 1, 2, 4
_CAP_IPC_LOCK = 14


@contextmanager
def supervising() -> Iterator[None]:
    """The calling thread as the supervisor, until the block ends; processes it starts are as they were.

    Raises:
        UsageError: The system refuses; nothing has changed.
    """
    before = _scheduling()
    enter("supervisor")
    try:
        yield
    finally:
        _leave(before)


def enter(role: str, threads: int | None = None) -> None:
    """Give this process the priority of its role, lock its memory and, where there are enough, bind it to
    cores. Threads that it starts afterwards inherit all of it.

    Args:
        role: One of ``PRIORITIES``.
        threads: How many threads inference was told to use; ``None``: as many as it has cores.

    Raises:
        UsageError: The system refuses one of the first two; nothing has changed.
    """
    if not sys.platform.startswith("linux"):
        raise UsageError(
            "--realtime", expected="Linux", found=sys.platform, next_step="Leave --realtime out here."
        )
    before = _scheduling()
    _raise_soft_limits()
    refusals = [refusal for refusal in (_schedule(role), _lock_memory()) if refusal]
    if refusals:
        _leave(before)
        raise _refused(refusals)
    cores = cores_for(role, os.sched_getaffinity(0), threads)
    if cores:
        os.sched_setaffinity(0, cores)


def cores_for(role: str, cores: Collection[int], threads: int | None = None) -> set[int]:
    """The cores that a process is bound to, of those it may use; none where it is not bound.

    Capture has the first, which mostly is the one that answers interrupts, and inference the others, unless
    it was told to use more threads than these.
    """
    first, *others = sorted(cores)
    if len(cores) < CORES_TO_PIN or (threads or 0) > len(others):
        return set()
    return {"capture": {first}, "inference": set(others)}.get(role, set())


def _schedule(role: str) -> str:
    """Take the scheduling class; why not, where it is refused."""
    policy, priority = os.SCHED_FIFO, PRIORITIES[role]
    if role == "supervisor":
        policy |= os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except OSError as error:
        limit, needed = _limit("RLIMIT_RTPRIO"), max(PRIORITIES.values())
        return (
            f"the scheduling class SCHED_FIFO is refused ({error.strerror}: RLIMIT_RTPRIO is {limit}, "
            f"needed: {needed} or CAP_SYS_NICE)"
        )
    return ""


def _lock_memory() -> str:
    """Keep what this process uses, now and later, from being swapped out; why not, where it is refused."""
    # A finite limit would be met in the middle of the drive, by an allocation that fails.
    if _limit("RLIMIT_MEMLOCK") == "unlimited" or _may_lock():
        # On fault: of the rings, which have room for the largest frames, only what is used takes memory.
        if ctypes.CDLL(None, use_errno=True).mlockall(_LOCK_NOW | _LOCK_LATER | _LOCK_ON_FAULT) == 0:
            return ""
        found = os.strerror(ctypes.get_errno())
    else:
        found = "Operation not permitted"
    limit = _limit("RLIMIT_MEMLOCK")
    return (
        f"the memory lock is refused ({found}: RLIMIT_MEMLOCK is {limit}, needed: unlimited or CAP_IPC_LOCK)"
    )


def _refused(refusals: list[str]) -> UsageError:
    priority = max(PRIORITIES.values())
    return UsageError(
        "--realtime",
        expected="a system that grants real-time scheduling and locked memory",
        found="; ".join(refusals),
        next_step=f"In the systemd unit write LimitRTPRIO={priority} and LimitMEMLOCK=infinity; in a shell, "
        f"before the loop: sudo prlimit --pid $$ --rtprio={priority}:{priority} "
        "--memlock=unlimited:unlimited. Or leave --realtime out.",
    )


def _scheduling() -> tuple[int, int]:
    if not hasattr(os, "sched_getscheduler"):
        return 0, 0
    return os.sched_getscheduler(0), os.sched_getparam(0).sched_priority


def _leave(before: tuple[int, int]) -> None:
    """As it was, as far as the system lets a process give up what it had."""
    policy, priority = before
    # Without the capability the flag stays once it is set; it changes nothing for a process like others.
    for again in (policy, policy | os.SCHED_RESET_ON_FORK):
        with suppress(OSError):
            os.sched_setscheduler(0, again, os.sched_param(priority))
            break
    ctypes.CDLL(None).munlockall()


def _raise_soft_limits() -> None:
    """What the hard limits allow anyway."""
    import resource

    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_MEMLOCK):
        _, hard = resource.getrlimit(limit)
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard, hard))


def _limit(name: str) -> str:
    import resource

    soft, _ = resource.getrlimit(getattr(resource, name))
    return "unlimited" if soft == resource.RLIM_INFINITY else str(soft)


def _may_lock() -> bool:
    """Whether this process has the capability to lock memory beyond its limit."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_IPC_LOCK & 1)
    return False
