"""A model file is loaded on trial first, by a process that may crash, hang or run out of memory alone.

Runtimes parse model files in C++. A file that makes one crash would end the camera loop with it, whatever the
reason: a forger, a fault of the runtime, or a version that the file was never run with. The trial makes an
error of it. It is no sandbox: what takes the process over has this user's rights.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgeseg import errors
from edgeseg.bundle import Bundle, ModelFile
from edgeseg.descent import die_with_parent
from edgeseg.errors import BundleError, EdgesegError, TrialCrashedError, TrialError, TrialLimitError
from edgeseg.runtimes.base import RuntimeFactory

_SECONDS = 60
_SECONDS_OF_BUILD = 3600
# Pixels of a frame above which a model may take longer, as it has more to compute.
_LARGE_FRAME = 1 << 20
_MEMORY = 2 << 30
_MEMORY_PER_MODEL_BYTE = 16
_MEMORY_PER_PIXEL = 4096
# A thread's stack, and the address space that the C library sets aside for what it allocates.
_MEMORY_PER_THREAD = 80 << 20
_OUT_OF_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate")
# Windows has neither, and no process there ends by a signal.
_KILL: signal.Signals = getattr(signal, "SIGKILL", signal.SIGTERM)
_OUT_OF_CPU_TIME: int = getattr(signal, "SIGXCPU", 0x100)
_LONGEST_ANSWER = 1 << 16
_GRACE_SECONDS = 10
# Isolated from the user's environment, with this process's own module path.
_START = "import sys; sys.path[:] = sys.argv[1:]; from edgeseg.runtimes.trial import main; main()"


@dataclass(frozen=True)
class Limits:
    """What a trial may take: seconds by the clock, seconds of all cores together, and bytes of addresses
    beyond those that the interpreter has when it begins; ``None``: any number."""

    seconds: float
    cpu_seconds: int
    memory: int | None


def limits_for(factory: RuntimeFactory, bundle: Bundle, model: ModelFile, threads: int) -> Limits:
    """Several times what any model of this size was seen to need, and never more than the machine has."""
    frame = bundle.manifest.input
    memory = (
        _MEMORY
        + _MEMORY_PER_MODEL_BYTE * sum(map(len, _members_for(bundle, model).values()))
        + _MEMORY_PER_PIXEL * frame.height * frame.width
        + _MEMORY_PER_THREAD * threads
    )
    if hasattr(os, "sysconf"):
        memory = min(memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    if factory.builds_on_gpu:
        # Its first load takes minutes, and CUDA sets aside as many addresses as there is memory of all kinds.
        return Limits(_SECONDS_OF_BUILD, _SECONDS_OF_BUILD, None)
    seconds = round(_SECONDS * max(1, frame.height * frame.width / _LARGE_FRAME))
    return Limits(seconds, seconds * threads, memory)


def try_model(
    factory: RuntimeFactory, bundle: Bundle, model: ModelFile, threads: int, limits: Limits | None = None
) -> None:
    """Load a model and run a black frame through it, in a process of its own.

    Args:
        limits: By default those of :func:`limits_for`.

    Raises:
        TrialCrashedError: The process died; the message says by which signal.
        TrialLimitError: It took more time or memory than it may.
        EdgesegError: What :meth:`RuntimeFactory.load` raised there.
    """
    limits = limits or limits_for(factory, bundle, model, threads)
    source = bundle.path / model.file
    alone = replace(bundle, members=_members_for(bundle, model))
    with _memory_file() as job, _memory_file() as answer:
        pickle.dump((factory, alone, model, threads, limits), job)
        job.seek(0)
        status = _run(job, answer, limits.seconds)
        answer.seek(0)
        said = answer.read(_LONGEST_ANSWER)
    if status is None:
        raise _over(source, f"a model that loads within {limits.seconds:g} s", "no end to it")
    if status == -_OUT_OF_CPU_TIME:
        raise _over(source, f"a model that loads in {limits.cpu_seconds} s of CPU time", "no end to it")
    _judge(source, status, said, limits)


def main() -> None:
    """The trial process: the job from stdin, the answer as JSON to stdout."""
    die_with_parent(os.getppid(), _KILL)
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what the runtime prints
    # Written by the process that started this one, to a file that has no name.
    factory, bundle, model, threads, limits = pickle.load(sys.stdin.buffer)
    _limit(limits)
    os.write(answer, json.dumps(_attempt(factory, bundle, model, threads)).encode()[:_LONGEST_ANSWER])
    # Without the runtime's own clearing up, which has been seen to crash after the work was done.
    os._exit(0)


def _members_for(bundle: Bundle, model: ModelFile) -> dict[str, bytes]:
    """All but the other models: a runtime may need more than one file, or the golden frames."""
    others = {name for other in bundle.manifest.models for name in other.members} - {*model.members}
    return {name: data for name, data in bundle.members.items() if name not in others}


def _attempt(factory: RuntimeFactory, bundle: Bundle, model: ModelFile, threads: int) -> dict[str, str]:
    """What became of it: nothing, or the parts of an error."""
    frame = bundle.manifest.input
    try:
        loaded = factory.load(bundle, model, threads)
        loaded.infer(np.zeros((frame.height, frame.width, 3), np.uint8))
    except MemoryError:
        return {"kind": "MemoryError"}
    except EdgesegError as error:
        if any(words in error.found for words in _OUT_OF_MEMORY):
            return {"kind": "MemoryError"}
        parts = {name: getattr(error, name) for name in ("subject", "expected", "found", "next_step")}
        return {"kind": type(error).__name__, **parts}
    except Exception as error:  # noqa: BLE001 - whatever it was, the parent is told
        return {
            "kind": "BundleError",
            "subject": str(bundle.path / model.file),
            "expected": f"a model that {factory.name} can load",
            "found": f"{type(error).__name__}: {error}",
            "next_step": "Export the bundle again.",
        }
    return {"kind": ""}


def _limit(limits: Limits) -> None:
    # Should the parent be gone and no longer count the time.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limits.seconds + _GRACE_SECONDS)
    try:
        import resource
    except ImportError:  # not on Windows, where the clock alone ends it
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_seconds, limits.cpu_seconds + 1))
    if limits.memory is not None and sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _run(job: IO[bytes], answer: IO[bytes], seconds: float) -> int | None:
    """The trial process's exit status, negative for a signal; ``None`` where it had to be ended."""
    # NumPy's own threads have nothing to do here, and would count as the model's memory.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", _START, *sys.path],
        stdin=job,
        stdout=answer,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # Ctrl-C is for this process, which ends that one
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process, and whatever it has started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, _KILL)
            else:
                process.kill()
    process.wait()


def _judge(source: Path, status: int, said: bytes, limits: Limits) -> None:
    """Nothing where the answer is good; what it says is not trusted to be what :func:`main` writes."""
    answer = _parsed(said) if status == 0 else None
    if answer is None:
        raise _crashed(source, status)
    if answer["kind"] == "MemoryError":
        most = "the machine's memory" if limits.memory is None else f"{limits.memory >> 20} MiB"
        raise _over(source, f"a model that loads within {most}", "one that asks for more")
    if answer["kind"]:
        kind = getattr(errors, answer["kind"], None)
        parts = {name: answer.get(name, "") for name in ("expected", "found", "next_step")}
        if not (isinstance(kind, type) and issubclass(kind, EdgesegError)):
            kind = BundleError
        raise kind(answer.get("subject", str(source)), **parts)


def _parsed(said: bytes) -> dict[str, str] | None:
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or not all(isinstance(value, str) for value in answer.values()):
        return None
    return answer if "kind" in answer else None


def _crashed(source: Path, status: int) -> TrialError:
    if status == -_KILL:
        next_step = "Check the free memory: the system ends processes when it runs out."
    else:
        next_step = "Do not use it; export the bundle again, and report this with the file if it stays so."
    return TrialCrashedError(
        source,
        expected="a model that its runtime can load",
        found=f"one that ended the process on trial ({_status(status)})",
        next_step=next_step,
    )


def _status(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def _over(source: Path, expected: str, found: str) -> TrialLimitError:
    return TrialLimitError(
        source,
        expected=expected,
        found=found,
        next_step="Do not use it; export the bundle again, for a smaller --size if it is a large one.",
    )


@contextmanager
def _memory_file() -> Iterator[IO[Any]]:
    """A file without a name, which on Linux takes no disk either."""
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("edgeseg-trial"), "w+b") as file:
            yield file
    else:
        with tempfile.TemporaryFile() as file:
            yield file
