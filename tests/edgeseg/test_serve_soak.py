"""The service for minutes, at the sizes that it is meant to survive: ``make soak``.

EDGESEG_SERVE_BUNDLE names a bundle to do it with; by default it is a toy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import toys
from process_figures import descriptors, growth_mb
from serve_attacks import GONE, crowd, fuzz, picture, post_head, send_endless
from service_process import ServiceProcess, eventually, serving

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]
PREDICT = "/v1/models/model/predict"
FLAT_MB = 16.0
MOST_MIB = 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    named = os.environ.get("EDGESEG_SERVE_BUNDLE")
    bundle = Path(named) if named else toys.write_bundle(tmp_path_factory.mktemp("bundle") / "toy.edgeseg")
    with serving([f"model={bundle}"], "--client-timeout", "10") as service:
        yield service
        _say(f"memory at the end {service.resident_mib():.0f} MiB")
        assert service.stop() == 0
        assert not [line for line in service.said if "Traceback" in line]


@pytest.fixture(scope="module")
def big() -> bytes:
    """Of nearly as many pixels as the service takes by default."""
    return picture(2160, 4096, seed=5)


@pytest.fixture(autouse=True)
def _below_a_gibibyte(service: ServiceProcess) -> Iterator[None]:
    """Memory is looked at all the time, and the service must be well when the test is over."""
    seen, over = [service.resident_mib()], threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            seen.append(service.resident_mib())

    watching = threading.Thread(target=watch)
    watching.start()
    yield
    over.set()
    watching.join()
    _say(f"at most {max(seen):.0f} MiB")
    assert max(seen) < MOST_MIB
    assert eventually(lambda: service.metric("edgeseg_serve_held_bytes") == 0, 60)
    assert service.request("POST", PREDICT, picture())[0] == 200


def test_ten_thousand_damaged_requests(service: ServiceProcess) -> None:
    fuzz(service, PREDICT, 200, seed=1)
    files = descriptors(service.process.pid)
    seconds, megabytes, statuses = [], [], Counter[int]()
    with ThreadPoolExecutor(8) as attackers:
        for seen in attackers.map(lambda seed: fuzz(service, PREDICT, 100, seed), range(10, 110)):
            statuses += seen
            seconds.append(time.monotonic())
            megabytes.append(service.resident_mib() * 2**20 / 1e6)
    _say(f"damaged requests by status: {dict(sorted(statuses.items()))}")
    assert all(status < 500 for status in statuses), statuses
    assert growth_mb(seconds, megabytes) < FLAT_MB
    assert eventually(lambda: descriptors(service.process.pid) <= files + 2, 30)


def test_schemathesis(service: ServiceProcess, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    url = f"http://{service.host}:{service.port}/openapi.json"
    result = subprocess.run(
        [program, "run", url, "--max-examples", "100", "--no-color"],
        capture_output=True,
        text=True,
        check=False,
        # It keeps a folder of what it has found.
        cwd=tmp_path,
    )
    _say(result.stdout[-400:])
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("stubborn", [False, True])
def test_two_gigabytes(service: ServiceProcess, chunked: bool, stubborn: bool) -> None:
    status, sent = send_endless(service, PREDICT, 2 << 30, chunked=chunked, stubborn=stubborn)
    _say(f"{'chunked' if chunked else 'with its length'}: status {status} after {sent >> 20} MiB")
    # Who goes on sending may be cut off before it looks at its answer.
    assert status in ((413, GONE) if stubborn else (413,))


def test_many_large_bodies_at_once(service: ServiceProcess, big: bytes) -> None:
    seen = crowd(service, PREDICT, big, clients=200, each=2)
    _say(f"200 clients with 4096x2160 pixels: {dict(seen.statuses)}")
    assert seen.faults == []
    assert set(seen.statuses) <= {200, 503}
    assert seen.statuses[200] > 0


def test_two_hundred_clients(service: ServiceProcess) -> None:
    body = picture(256, 256)
    crowd(service, PREDICT, body, clients=200, each=5)
    before, files = service.resident_mib(), descriptors(service.process.pid)
    seen = crowd(service, PREDICT, body, clients=200, each=50)
    _say(f"200 clients: {dict(seen.statuses)}, p99 of the answered {seen.p99_ms():.0f} ms")
    assert seen.faults == []
    assert set(seen.statuses) <= {200, 503}
    assert service.resident_mib() - before < 64
    assert eventually(lambda: descriptors(service.process.pid) <= files + 2, 60)


def test_two_hundred_clients_that_take_no_answer(service: ServiceProcess, big: bytes) -> None:
    ask = post_head(PREDICT + "?output=overlay", len(big)).replace(
        b"\r\n\r\n", b"\r\nAccept: image/png\r\n\r\n"
    )
    stalled = []
    for _ in range(200):
        connection = service.connect()
        connection.setblocking(False)
        try:
            connection.send(ask + big)
        except OSError:
            continue
        stalled.append(connection)
    for _ in range(10):
        assert service.request("GET", "/live")[0] == 200
    assert eventually(lambda: service.metric("edgeseg_serve_held_bytes") == 0, 60)
    for connection in stalled:
        connection.close()


def test_sigterm_under_load(tmp_path: Path) -> None:
    named = os.environ.get("EDGESEG_SERVE_BUNDLE")
    bundle = tmp_path / "model.edgeseg"
    if named:
        shutil.copytree(named, bundle)
    else:
        toys.write_bundle(bundle)
    with serving([f"model={bundle}"]) as service:
        seen = []
        load = threading.Thread(
            target=lambda: seen.append(crowd(service, PREDICT, picture(256, 256), clients=100, each=200))
        )
        load.start()
        assert eventually(lambda: service.metric("edgeseg_serve_waiting") > 8)
        started = time.monotonic()
        assert service.stop() == 0
        _say(f"ended {time.monotonic() - started:.1f} s after SIGTERM, with 100 clients")
        load.join()
    _say(f"they saw {dict(seen[0].statuses)}")
    assert seen[0].faults == []
    assert set(seen[0].statuses) <= {200, 503, GONE}


def _say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
