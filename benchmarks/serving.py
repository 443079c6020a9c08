"""Services side by side: the same picture, at several numbers of clients, in rounds that take turns."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from edgeseg.benchmarks.children import child_environment, last_line
from edgeseg.benchmarks.process_sample import status_mib
from edgeseg.benchmarks.summary import Times
from edgeseg.errors import InferenceError
from edgeseg.labels import Mask
from edgeseg.loopback import TOKEN_VARIABLE

Progress = Callable[[int, int], None]
_HOST = "127.0.0.1"
_START_SECONDS = 300.0
_BOUNDARY = "edgeseg-benchmark"
_WARMUP = 5


@dataclass(frozen=True)
class Service:
    """A service to be started and measured.

    Args:
        name: For the report.
        arguments: Of Python, from the module on; ``{port}`` stands for a port.
        path: Where pictures are posted to.
    """

    name: str
    arguments: tuple[str, ...]
    path: str


@dataclass(frozen=True)
class Options:
    """How they are measured.

    Args:
        clients: Numbers of clients at once.
        seconds: For which clients send in a turn; what runs then is finished and counts.
        rounds: Turns of each service at each number of clients.
    """

    clients: tuple[int, ...] = (1, 4, 16, 64)
    seconds: float = 3.0
    rounds: int = 3


@dataclass(frozen=True)
class Turn:
    """One service at one number of clients for some seconds.

    Args:
        times: Milliseconds from the first byte sent to the last received, ``float64 [N]``.
        seconds: That all of them took together.
        failures: Requests that gave no mask.
    """

    times: Times
    seconds: float
    failures: int


@dataclass(frozen=True)
class ServingSpeed:
    """All turns of one service.

    Args:
        turns: Number of clients to a turn for each round.
        peak_mib: The most memory that the process has taken.
        mask: What it gave for the picture.
    """

    name: str
    turns: dict[int, tuple[Turn, ...]]
    peak_mib: float
    mask: Mask


def measure_services(
    services: Sequence[Service], picture: bytes, options: Options, on_progress: Progress | None = None
) -> list[ServingSpeed]:
    """Start all of them, and measure them in turns.

    Args:
        picture: The bytes of an image file, sent as the one file of a form.

    Raises:
        InferenceError: One does not start, or gives no mask.
    """
    report = on_progress or (lambda _done, _total: None)
    message = _form(picture)
    turns: list[dict[int, list[Turn]]] = [{count: [] for count in options.clients} for _ in services]
    done, total = 0, options.rounds * len(options.clients) * len(services)
    with ExitStack() as stack:
        running = [stack.enter_context(_running(service)) for service in services]
        masks = [_mask(one.warm_up(message), one.service) for one in running]
        for number in range(options.rounds):
            for count in options.clients:
                # Whoever always came second would find another machine.
                order = range(len(running)) if number % 2 == 0 else reversed(range(len(running)))
                for index in order:
                    turns[index][count].append(running[index].turn(message, count, options.seconds))
                    done += 1
                    report(done, total)
        return [
            ServingSpeed(
                one.service.name, {c: tuple(t) for c, t in turns[i].items()}, one.peak_mib(), masks[i]
            )
            for i, one in enumerate(running)
        ]


class _Running:
    """A service that answers."""

    def __init__(self, service: Service, port: int, process: subprocess.Popen[bytes]) -> None:
        self.service, self._port, self._process = service, port, process

    def warm_up(self, message: bytes) -> bytes:
        """A few requests that do not count; the last answer's body."""
        connection = self._connect()
        body = b""
        for _ in range(_WARMUP):
            status, body = self._post(connection, message)
            if status != 200:
                raise _failed(self.service, f"status {status}: {body[:200].decode(errors='replace')}")
        connection.close()
        return body

    def turn(self, message: bytes, clients: int, seconds: float) -> Turn:
        """``clients`` threads, each with one connection, that send the next picture as soon as they may."""
        times: list[float] = []
        failures: list[int] = []
        begin = threading.Barrier(clients + 1)

        def client() -> None:
            connection = self._connect()
            connection.connect()
            begin.wait()
            end = time.perf_counter() + seconds
            while (started := time.perf_counter()) < end:
                try:
                    status, _ = self._post(connection, message)
                except (OSError, http.client.HTTPException):
                    connection.close()
                    status = 0
                (times if status == 200 else failures).append(1000 * (time.perf_counter() - started))
            connection.close()

        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        begin.wait()
        started = time.perf_counter()
        for thread in threads:
            thread.join()
        return Turn(np.array(times), time.perf_counter() - started, len(failures))

    def peak_mib(self) -> float:
        return status_mib("VmHWM", self._process.pid)

    def wait_until_it_answers(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            connection = self._connect()
            try:
                connection.request("GET", "/live")
                connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
                continue
            finally:
                connection.close()
            return
        raise _failed(self.service, "nothing on its port")

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(_HOST, self._port, timeout=_START_SECONDS)

    def _post(self, connection: http.client.HTTPConnection, message: bytes) -> tuple[int, bytes]:
        kind = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
        connection.request("POST", self.service.path, message, kind)
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def _running(service: Service) -> Iterator[_Running]:
    port = _free_port()
    arguments = [argument.replace("{port}", str(port)) for argument in service.arguments]
    environment = child_environment()
    # One that is set for other services would be asked of these clients too.
    environment.pop(TOKEN_VARIABLE, None)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )
        try:
            running = _Running(service, port, process)
            try:
                running.wait_until_it_answers()
            except InferenceError as error:
                raise _failed(service, last_line(log) or error.found) from error
            yield running
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _form(picture: bytes) -> bytes:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="picture"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + picture + f"\r\n--{_BOUNDARY}--\r\n".encode()


def _mask(png: bytes, service: Service) -> Mask:
    mask = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.ndim != 2:
        raise _failed(service, "an answer that is no mask")
    return np.asarray(mask, np.uint8)


def _failed(service: Service, found: str) -> InferenceError:
    return InferenceError(
        service.name,
        expected="a service that answers a picture with its mask",
        found=found,
        next_step=f"Run it by itself: python -m {' '.join(service.arguments)}",
    )
