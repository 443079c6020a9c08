"""The parent's side of a worker process: starts it, talks to it, and says how it died."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from multiprocessing import Pipe
from types import TracebackType
from typing import Any

from edgeseg.benchmarks.children import child_environment, last_line
from edgeseg.benchmarks.process_sample import sample
from edgeseg.benchmarks.protocol import Job, Message, Opened
from edgeseg.errors import EdgesegError, InferenceError

_HUNG_SECONDS = 120.0
"""A process that used no processor for so long does nothing any more; one that spins may be a slow one."""


class Worker:
    """A process with one model loaded, until it is closed.

    Attributes:
        opened: What the model turned out to be, and its cold start.
        pid: Of the process.

    Raises:
        EdgesegError: The model cannot be loaded.
        InferenceError: The process died.
    """

    opened: Opened

    def __init__(self, job: Job) -> None:
        self._model = job.model
        # Runtimes print to stderr as they load; it is shown only if the process dies.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno()), str(time.monotonic_ns())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=child_environment(),
        )
        self.pid = self._process.pid
        # Only the child holds this end now: when it dies, receiving ends instead of waiting for ever.
        theirs.close()
        try:
            self.opened = self.ask(job)
        except BaseException:
            self.close()
            raise

    def ask(self, message: Message) -> Any:
        """The answer to a message; an error of the worker is raised here.

        Raises:
            InferenceError: The runtime failed on a frame, or the process died or hangs.
        """
        try:
            self._connection.send(message)
            self._wait()
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        if isinstance(answer, EdgesegError):
            raise answer
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self) -> None:
        """Until there is an answer or the process has ended."""
        used, since = -1.0, time.monotonic()
        while not self._connection.poll(1.0):
            now = sample(self.pid)
            if now and now.cpu_seconds > used:
                used, since = now.cpu_seconds, time.monotonic()
            elif now and time.monotonic() - since > _HUNG_SECONDS:
                self._process.kill()
                raise InferenceError(
                    self._model,
                    expected="its benchmark process to go on",
                    found=f"it did nothing for {_HUNG_SECONDS:.0f} s, and was ended",
                    next_step="Try it alone with another --runtime or --threads.",
                )

    def _died(self) -> InferenceError:
        code = self._process.wait()
        said = last_line(self._log)
        return InferenceError(
            self._model,
            expected="its benchmark process to finish",
            found=f"it ended with code {code}" + (f": {said}" if said else ""),
            next_step="Code -9 is most often too little memory. Otherwise try: edgeseg verify on the bundle.",
        )
