"""uvicorn's server, except that a signal ends the process with 0 and not by that signal."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppingServer(uvicorn.Server):
    """A server that says when it listens and when it was told to stop.

    Args:
        config: uvicorn's.
        on_listening: Called once.
        on_stop: Called at the first SIGINT or SIGTERM; at the second nothing that runs is waited for.
    """

    def __init__(
        self, config: uvicorn.Config, on_listening: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_listening, self._on_stop = on_listening, on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # In another thread than the main one Python hears of none.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._on_stop()
        self.force_exit = self.should_exit
        self.should_exit = True
