"""What systemd is told of a service of Type=notify: its protocol is a datagram of lines.

The watchdog is answered by the supervisor for as long as it goes round, in every state. It proves that the
supervisor is alive and nothing else: a camera that is unplugged is the loop's to wait for, and restarting
the service would not bring it back. What hangs or crashes below it, the supervisor itself ends and restarts.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

from edgeseg.loop.states import USABLE

STATUS_NS = 1_000_000_000
"""A status is told no more often, for reasons count the seconds."""
EXTENSION_SECONDS = 30
"""How much longer systemd is asked to wait for a first good mask, again and again."""


class Notifier:
    """Tells the service manager how the loop is; nothing where nobody listens.

    Args:
        address: Of the manager's socket: a path, or ``@name`` for an abstract one; empty: nobody listens.
        watchdog_us: Microseconds within which the manager expects a sign; 0: it expects none.
    """

    def __init__(self, address: str = "", watchdog_us: int = 0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._period_ns = watchdog_us * 1000 // 3
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        self._ready = False
        self._signed_ns = self._told_ns = 0
        self._status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Notifier:
        """As systemd says it: ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and for whom that is, ``WATCHDOG_PID``."""
        period = environment.get("WATCHDOG_USEC", "")
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            address = ""  # of another kind, as vsock:, which is for virtual machines
        return cls(address, int(period) if period.isdigit() and for_us else 0)

    def tick(self, now_ns: int, state: str, reason: str) -> None:
        """The supervisor went round. ``READY=1`` goes out once, with the first state that is a good one."""
        if self._socket is None:
            return
        lines = []
        if not self._ready and state in USABLE:
            self._ready = True
            lines.append("READY=1")
        status = f"{state}: {reason}" if reason else state
        if status != self._status and now_ns - self._told_ns >= STATUS_NS:
            self._status, self._told_ns = status, now_ns
            lines.append(f"STATUS={status}")
        if now_ns - self._signed_ns >= (self._period_ns or STATUS_NS):
            self._signed_ns = now_ns
            if self._period_ns:
                lines.append("WATCHDOG=1")
            if not self._ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={EXTENSION_SECONDS * 1_000_000}")
        if lines:
            self._send(lines)

    def stopping(self) -> None:
        """The loop ends; what the sinks still have to finish takes a moment."""
        if self._socket is not None:
            self._send(["STOPPING=1", "STATUS=STOPPING"])
            self._socket.close()
            self._socket = None

    def _send(self, lines: list[str]) -> None:
        # A manager that is away or does not read holds up nothing.
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendto("\n".join(lines).encode(), socket.MSG_DONTWAIT, self._address)
