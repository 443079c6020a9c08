"""The service as a process, under clients that mean no good: what they may cost, and that it ends when told.

Larger sizes of the same are in ``test_serve_soak.py``.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import toys
from serve_attacks import GONE, Crowd, crowd, fuzz, picture, post_head, send_endless, status_of
from service_process import ServiceProcess, eventually, serving

pytestmark = pytest.mark.heavy
PREDICT = "/v1/models/toy/predict"
SECONDS = 6.0


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.write_bundle(tmp_path_factory.mktemp("bundle") / "toy.edgeseg")


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[ServiceProcess]:
    """One for all, with little patience: whatever one test did to it, the next must find it well."""
    options = ("--client-timeout", str(SECONDS), "--queue", "8", "--max-connections", "60", "--max-body", "4")
    with serving([bundle], *options) as service:
        yield service
        assert service.stop() == 0


@pytest.fixture(autouse=True)
def _well(service: ServiceProcess) -> Iterator[None]:
    yield
    assert service.request("POST", PREDICT, picture())[0] == 200
    assert eventually(lambda: service.metric("edgeseg_serve_held_bytes") == 0)
    assert service.metric("edgeseg_serve_running") == service.metric("edgeseg_serve_waiting") == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_two_gigabytes_is_refused_as_soon_as_it_is_too_long(
    service: ServiceProcess, chunked: bool
) -> None:
    before = service.resident_mib()
    status, sent = send_endless(service, PREDICT, 2 << 30, chunked=chunked)
    assert status == 413
    assert sent < 64 << 20
    assert service.resident_mib() - before < 32


def test_a_picture_of_900_million_pixels(service: ServiceProcess) -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    part = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + part + struct.pack(">I", zlib.crc32(part))
    before = service.resident_mib()
    status, text = service.request("POST", PREDICT, png + bytes(1000))
    assert status == 413
    assert b"30000x30000" in text
    assert service.resident_mib() - before < 16


def test_many_clients_at_once(service: ServiceProcess) -> None:
    seen = crowd(service, PREDICT + "?output=json", picture(), clients=30, each=4)
    assert seen.faults == []
    assert set(seen.statuses) <= {200, 503}
    assert seen.statuses[200] > 30


def test_clients_that_take_no_answer(service: ServiceProcess) -> None:
    # Its overlay is longer than what the system takes from the service for a client.
    stalled = [_asks_for_much(service) for _ in range(4)]
    # They hold no slot.
    assert eventually(lambda: service.metric("edgeseg_serve_held_bytes") > 10 << 20)
    assert eventually(lambda: not any(service.metric(f"edgeseg_serve_{x}") for x in ("running", "waiting")))
    assert service.request("POST", PREDICT, picture())[0] == 200
    # And soon nothing at all.
    assert eventually(lambda: service.metric("edgeseg_serve_held_bytes") == 0, SECONDS + 10)
    for connection in stalled:
        connection.close()


def test_a_length_beside_chunks_is_not_believed(service: ServiceProcess) -> None:
    """It says that nothing comes, and HTTP goes by the chunks: what it may send is held for it."""
    connection = service.connect()
    head = post_head(PREDICT, 0)
    connection.sendall(head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n") + b"1\r\nx\r\n")
    assert eventually(lambda: service.metric("edgeseg_serve_held_bytes") >= 4 << 20, SECONDS)
    assert status_of(connection) == 408
    connection.close()


def test_clients_that_send_slowly(service: ServiceProcess) -> None:
    slow = [service.connect() for _ in range(20)]
    for index, connection in enumerate(slow):
        head = post_head(PREDICT, 100)
        # Half of them do not even get to the end of the head.
        connection.sendall(head + b"x" if index % 2 else head[:-2])
    started = time.monotonic()
    assert service.request("POST", PREDICT, picture())[0] == 200
    while time.monotonic() - started < SECONDS + 1:
        for connection in slow:
            try:
                connection.sendall(b"x")
            except OSError:
                continue
        time.sleep(0.3)
    statuses = [status_of(connection) for connection in slow]
    assert set(statuses[1::2]) <= {408, GONE}
    assert 408 in statuses
    assert set(statuses[::2]) == {GONE}
    for connection in slow:
        connection.close()


def test_a_connection_too_many(service: ServiceProcess) -> None:
    idle = [service.connect() for _ in range(61)]
    assert idle[-1].recv(1) == b""
    assert eventually(lambda: _takes(service), SECONDS + 10)
    for connection in idle:
        connection.close()


def test_damaged_requests(service: ServiceProcess) -> None:
    statuses = fuzz(service, PREDICT, 200)
    assert all(status < 500 for status in statuses), statuses
    assert {200, 400, 415, 422} <= set(statuses)
    assert 'status="5' not in service.request("GET", "/metrics")[1].decode().replace('status="503"', "")


def test_sigterm_finishes_what_runs(bundle: Path) -> None:
    with serving([bundle], "--workers", "1", "--queue", "8", "--stop-timeout", "20") as service:
        body = picture(600, 800, seed=2)
        seen: list[Crowd] = []
        clients = threading.Thread(
            target=lambda: seen.append(crowd(service, PREDICT + "?output=overlay", body, clients=8, each=1))
        )
        clients.start()
        assert eventually(lambda: service.metric("edgeseg_serve_waiting") >= 4)
        assert service.stop() == 0
        clients.join()
    assert seen[0].faults == []
    assert set(seen[0].statuses) == {200}


def test_sigterm_does_not_wait_for_ever(bundle: Path) -> None:
    with serving([bundle], "--stop-timeout", "1") as service:
        slow = service.connect()
        slow.sendall(post_head(PREDICT, 100) + b"x")
        body = picture(1000, 1000)
        stalled = service.connect()
        stalled.sendall(post_head(PREDICT + "?output=overlay", len(body)) + body)
        time.sleep(0.5)
        assert service.stop(seconds=15) == 0
        assert not [line for line in service.said if "Traceback" in line]
        slow.close()
        stalled.close()


def _asks_for_much(service: ServiceProcess) -> socket.socket:
    """A client whose window is soon full, with an overlay of megabytes on its way to it."""
    body = picture(1300, 1300, seed=1)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((service.host, service.port))
    head = post_head(PREDICT + "?output=overlay", len(body))
    connection.sendall(head.replace(b"\r\n\r\n", b"\r\nAccept: image/png\r\n\r\n") + body)
    return connection


def _takes(service: ServiceProcess) -> bool:
    try:
        return service.request("GET", "/ready")[0] == 200
    except OSError:
        return False
