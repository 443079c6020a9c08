"""The three system calls through which a V4L2 camera is driven; tests put a made-up kernel in their place."""

from __future__ import annotations

import fcntl
import mmap
import os
import select
from ctypes import Structure, c_int
from typing import Protocol

import numpy as np

from edgeseg.resize import Image


class Device(Protocol):
    """An open device file. Errors are the system's, as ``OSError``."""

    def ioctl(self, request: int, argument: Structure | c_int) -> None:
        """Call the driver; it reads and writes ``argument`` in place."""

    def mmap(self, length: int, offset: int) -> Image:
        """A buffer of the driver's as ``uint8 [length]``, valid up to :meth:`close`."""

    def poll(self, seconds: float) -> bool:
        """Wait for a buffer to take or an error of the driver's; ``False`` after ``seconds`` without."""

    def close(self) -> None: ...


class KernelDevice:
    """A real device file.

    Raises:
        OSError: It is not there, or this user may not open it.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._maps: list[mmap.mmap] = []

    def ioctl(self, request: int, argument: Structure | c_int) -> None:
        while True:
            try:
                fcntl.ioctl(self._fd, request, argument, True)
            except InterruptedError:
                continue  # poll() is repeated by Python after a signal (PEP 475), ioctl() is not
            return

    def mmap(self, length: int, offset: int) -> Image:
        self._maps.append(mmap.mmap(self._fd, length, mmap.MAP_SHARED, offset=offset))
        return np.frombuffer(self._maps[-1], np.uint8)

    def poll(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def close(self) -> None:
        if self._fd < 0:
            return
        for mapped in self._maps:
            try:
                mapped.close()
            except BufferError:
                continue  # an array still shows it, such as a traceback's; it is unmapped with that
        self._maps.clear()
        os.close(self._fd)
        self._fd = -1
