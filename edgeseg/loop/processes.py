"""The processes of the loop as the supervisor sees them: started, listened to, ended, started anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from edgeseg import errors
from edgeseg.errors import EdgesegError
from edgeseg.loop.plan import LoopPlan
from edgeseg.loop.worker import Descriptors

# Isolated from the user's environment, with this process's own module path.
_START = "import sys; sys.path[:] = sys.argv[1:]; from edgeseg.loop.{}_worker import main; main()"
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 1.0
_READ_BYTES = 65536
_KILL_SECONDS = 0.3


class Child:
    """One process: ``capture``, ``inference`` or ``sinks``, and its successors.

    Args:
        role: Which of them.
        plan: What the loop is to do.
        descriptors: What it inherits.
        when_parent_dies: The signal that the system sends it should this process be gone.

    Attributes:
        starts: How often it was started.
        started_at: When it was started last, on the clock of :func:`time.monotonic`.
    """

    def __init__(
        self, role: str, plan: LoopPlan, descriptors: Descriptors, when_parent_dies: signal.Signals
    ) -> None:
        self.role = role
        self.starts = 0
        self.started_at = 0.0
        self._plan, self._descriptors, self._when_parent_dies = plan, descriptors, when_parent_dies
        self._process: subprocess.Popen[bytes] | None = None
        self._killed_for = ""
        self._voice: int | None = None
        self._said = b""
        self._backoff = FIRST_BACKOFF
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, told: Mapping[str, Any]) -> None:
        """Start it, with what it has to know beside the plan."""
        self._close_voice()
        self._said = b""  # of the one before, cut off with it
        self._voice, voice = os.pipe()
        os.set_blocking(self._voice, False)
        try:
            self._spawn(told, voice)
        finally:
            os.close(voice)

    def _spawn(self, told: Mapping[str, Any], voice: int) -> None:
        given = {
            "parent": os.getpid(),
            "when_parent_dies": int(self._when_parent_dies),
            "plan": self._plan.to_json(),
            "board": self._descriptors.board,
            "frames": self._descriptors.frames,
            "masks": self._descriptors.masks,
            "voice": voice,
            "told": dict(told),
        }
        self.starts += 1
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _START.format(self.role), *sys.path],
            stdin=subprocess.PIPE,
            pass_fds=(*self._descriptors.all, voice),
            start_new_session=True,  # Ctrl-C is for this process, which ends that one
        )
        pipe = self._process.stdin
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.write(json.dumps(given).encode() + b"\n")
                pipe.flush()
            os.set_blocking(pipe.fileno(), False)

    def restart_when_due(self, told: Mapping[str, Any]) -> bool:
        """Start it again once the pause after its last end is over; whether it was started."""
        if self.running or time.monotonic() < self._not_before:
            return False
        try:
            self.start(told)
        except OSError:  # no process, memory or descriptor to be had now
            self._not_before = time.monotonic() + LONGEST_BACKOFF
            return False
        return True

    def ended(self) -> str | None:
        """How it ended, in words, once; ``None`` while it runs. It may be started again after a pause."""
        if self._process is None or self._process.poll() is None:
            return None
        status = self._process.returncode
        self._forget()
        self._not_before = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, LONGEST_BACKOFF)
        how, self._killed_for = self._killed_for or _describe(status), ""
        return how

    def did_well(self) -> None:
        """It works: the next pause is a short one again."""
        self._backoff = FIRST_BACKOFF

    def hear(self) -> list[dict[str, Any]]:
        """What it has said since the last time, without waiting."""
        while self._voice is not None:
            try:
                data = os.read(self._voice, _READ_BYTES)
            except BlockingIOError:
                break
            if not data:
                self._close_voice()
                break
            self._said += data
        *lines, self._said = self._said.split(b"\n")
        return [event for line in lines if (event := _parsed(line)) is not None]

    def tell(self, event: Mapping[str, Any]) -> None:
        """A line of JSON to it; left out where its pipe is full."""
        if self._process is None or self._process.stdin is None:
            return
        with suppress(BlockingIOError, BrokenPipeError, ValueError):
            os.write(self._process.stdin.fileno(), json.dumps(event).encode() + b"\n")

    def kill(self, why: str = "") -> None:
        """End it, and whatever it has started; ``why`` is what :meth:`ended` will say.

        It is not waited for: what is stuck in a driver does not end, and may not keep the supervisor.
        """
        self._killed_for = why
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Until it has ended, at most so long; whether it has."""
        if self._process is None:
            return True
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, seconds))
        return self._process.poll() is not None

    def close(self) -> None:
        """End it and release everything."""
        self.kill()
        self.wait(_KILL_SECONDS)
        self._forget()
        self._close_voice()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process = None

    def _close_voice(self) -> None:
        if self._voice is not None:
            os.close(self._voice)
            self._voice = None


def error_of(event: Mapping[str, Any], role: str) -> EdgesegError:
    """The error that a worker told of, or one that says what it told."""
    kind, parts = getattr(errors, event.get("error") or "", None), dict(event.get("parts", {}))
    if isinstance(kind, type) and issubclass(kind, EdgesegError):
        subject = parts.pop("subject", role)
        return kind(subject, **parts)
    fallback = errors.InferenceError if role == "inference" else errors.SourceError
    return fallback(
        role,
        expected="a process that goes on",
        found=str(parts.get("found", "its end")),
        next_step="Report this, with the report of the run.",
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line that was cut off where a process was killed is none."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
