"""Workers that come, that come late, and that do not come."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from edgeseg.errors import TrainingError
from edgeseg.training.rendezvous import meet


@pytest.fixture
def workers() -> list[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return [f"127.0.0.1:{port}", "127.0.0.1:2", "127.0.0.1:3"]


def test_all_go_on_together_whatever_the_order(workers: list[str]) -> None:
    done: list[int] = []

    def come(index: int) -> None:
        meet(workers, index, seconds=20)
        done.append(index)

    with ThreadPoolExecutor(3) as pool:
        early = [pool.submit(come, index) for index in (2, 0)]
        threading.Event().wait(0.5)
        assert done == []
        for future in [*early, pool.submit(come, 1)]:
            future.result()
    assert sorted(done) == [0, 1, 2]


def test_the_address_is_free_afterwards(workers: list[str]) -> None:
    for _ in range(2):
        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(meet, workers[:2], index, 20) for index in (0, 1)]:
                future.result()


def test_a_worker_that_does_not_come_is_named(workers: list[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(meet, workers, 0, 1.0)
        third = pool.submit(meet, workers, 2, 1.0)
        with pytest.raises(TrainingError, match=r"nothing from worker 1\b.*--worker-index"):
            first.result()
        with pytest.raises(TrainingError, match="no answer of worker 0"):
            third.result()


def test_a_stranger_and_a_worker_that_comes_twice_do_not_count(workers: list[str]) -> None:
    host, _, port = workers[0].rpartition(":")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(meet, workers, 0, 3.0)
        # They wait longer than the first: one that gave up beforehand would be missing, too.
        twice = [pool.submit(meet, workers, 1, 6.0) for _ in range(2)]
        with _connected(host, int(port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(TrainingError, match=r"nothing from worker 2\b"):
                first.result()
        for future in twice:
            with pytest.raises(TrainingError):
                future.result()


def test_a_worker_that_was_started_again_is_let_go(workers: list[str]) -> None:
    """Its first call is dead, and the go must reach the second."""
    host, _, port = workers[0].rpartition(":")
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(meet, workers, 0, 60)
        with _connected(host, int(port)) as died:
            died.sendall(b"edgeseg worker 1\n")
        for future in [first, *(pool.submit(meet, workers, index, 60) for index in (1, 2))]:
            future.result()


def _connected(host: str, port: int) -> socket.socket:
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection((host, port))
        except OSError:
            assert time.monotonic() < deadline, "worker 0 does not listen"
            time.sleep(0.05)


def test_a_port_that_is_taken_is_said(workers: list[str]) -> None:
    host, _, port = workers[0].rpartition(":")
    with socket.create_server((host, int(port))), pytest.raises(TrainingError, match="in use"):
        meet(workers, 0, seconds=1)
