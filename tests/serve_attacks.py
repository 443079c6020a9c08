"""What clients of a service may do to it, in any number: each function does it and gives what it saw."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import cv2
import numpy as np

from service_process import ServiceProcess

GONE = 0
"""Instead of a status, where the connection ended without one."""
_CHUNK = 1 << 16


def picture(height: int = 240, width: int = 320, kind: str = ".jpg", seed: int = 0) -> bytes:
    """Noise: it does not compress, and so neither does its overlay."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.imencode(kind, noise)[1].tobytes()


@dataclass
class Crowd:
    """What many clients saw.

    Attributes:
        statuses: How often which status came.
        seconds: Of the requests that were answered with 200.
        faults: What no client should see: a 503 without Retry-After, an answer that was cut off.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def p99_ms(self) -> float:
        return float(np.percentile(self.seconds, 99)) * 1000


def crowd(
    service: ServiceProcess,
    path: str,
    body: bytes,
    clients: int,
    each: int,
) -> Crowd:
    """``clients`` at once, of which each sends ``each`` pictures on one connection."""
    seen, begin = Crowd(), threading.Barrier(clients)

    def client() -> None:
        connection = http.client.HTTPConnection(service.host, service.port, timeout=120)
        begin.wait()
        for _ in range(each):
            started = time.perf_counter()
            try:
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request("POST", path, body)
                # Who was refused before all was sent has an answer to read all the same.
                answer = connection.getresponse()
            except (OSError, http.client.HTTPException):
                seen.statuses[GONE] += 1
                connection.close()
                continue
            try:
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                seen.faults.append(f"cut off: {error!r}")
                connection.close()
                continue
            seen.statuses[answer.status] += 1
            if answer.status == 200:
                seen.seconds.append(time.perf_counter() - started)
            if answer.status != 200:
                # The service may end a connection whose body it did not take.
                connection.close()
            if answer.status == 503 and not answer.getheader("Retry-After"):
                seen.faults.append("no Retry-After")
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def send_endless(
    service: ServiceProcess, path: str, total: int, *, chunked: bool, stubborn: bool = False
) -> tuple[int, int]:
    """A body of ``total`` bytes, until an answer comes, or for a stubborn client until the connection ends.

    Returns:
        The answer's status, and how many bytes were sent.
    """
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}"
    sent, data = 0, bytes(_CHUNK)
    with service.connect() as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n".encode())
        with suppress(OSError):
            while sent < total:
                connection.sendall(b"%x\r\n%b\r\n" % (_CHUNK, data) if chunked else data)
                sent += _CHUNK
                if not stubborn:
                    connection.setblocking(False)
                    with suppress(BlockingIOError):
                        if connection.recv(1, socket.MSG_PEEK):
                            connection.settimeout(30)
                            break
                    connection.settimeout(30)
        return status_of(connection), sent


def status_of(connection: socket.socket) -> int:
    """The status of the answer that comes, or :data:`GONE`."""
    try:
        head = connection.recv(4096)
    except OSError:
        return GONE
    return int(head.split()[1]) if head.startswith(b"HTTP/1.1 ") else GONE


def post_head(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode()


def fuzz(service: ServiceProcess, path: str, count: int, seed: int = 0) -> Counter[int]:
    """Damaged requests: whole messages with changed bytes, pictures with changed bytes, any bytes at all."""
    chance = random.Random(seed)
    pictures = [picture(40, 60, kind) for kind in (".jpg", ".png", ".webp", ".bmp")]
    statuses: Counter[int] = Counter()
    for index in range(count):
        body = chance.choice(pictures)
        message = post_head(chance.choice((path, path + "?output=json", "/v1/models")), len(body)) + body
        kind = index % 4
        if kind == 0:
            message = _damaged(message, chance, len(message))
        elif kind == 1:
            message = _damaged(message, chance, 150)
        elif kind == 2:
            damaged = _damaged(body, chance, len(body))
            message = post_head(path, len(damaged)) + damaged
        else:
            message = chance.randbytes(chance.randrange(1, 400)) + b"\r\n\r\n"
        statuses[_answered(service, message, patience=30 if kind == 2 else 0.2)] += 1
    return statuses


def _damaged(data: bytes, chance: random.Random, within: int) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 12)):
        changed[chance.randrange(min(within, len(changed)))] = chance.randrange(256)
    if chance.random() < 0.3:
        del changed[chance.randrange(len(changed)) :]
    return bytes(changed)


def _answered(service: ServiceProcess, message: bytes, patience: float) -> int:
    # What is not whole is waited for by the service, and need not be here.
    with service.connect(patience) as connection:
        with suppress(OSError):
            connection.sendall(message)
        return status_of(connection)
