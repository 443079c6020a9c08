"""What the service answers: every form of a result, every refusal with one message, and its description."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import cv2
import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from edgeseg.errors import BundleMissingError, InferenceError, MissingExtraError, UsageError
from edgeseg.loopback import TOKEN_VARIABLE
from edgeseg.segmenter import Segmenter, load
from edgeseg.serve.app import make_app
from edgeseg.serve.connections import GuardedProtocol
from edgeseg.serve.limits import Limits
from edgeseg.serve.models import Loading, load_models
from edgeseg.serve.server import Endpoint, bind, read_token, serve
from edgeseg.serve.service import Service

MakeBundle = Callable[..., Path]
TOKEN = "a-token-of-more-than-16-letters"
PREDICT = "/v1/models/toy/predict"


@pytest.fixture
def make_client(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TestClient]]:
    # A process for each of these models would be most of the time that these tests take.
    monkeypatch.setattr("edgeseg.segmenter.try_model", lambda *_: None)
    with ExitStack() as stack:

        def make(limits: Limits | None = None, **options: object) -> TestClient:
            limits = limits or Limits(slots=1)
            models = load_models([str(make_bundle())], limits.slots, Loading(threads=1), stack)
            service = Service(models, limits, **options)  # type: ignore[arg-type]
            stack.callback(service.close)
            client = TestClient(make_app(service), base_url="http://127.0.0.1", raise_server_exceptions=False)
            client.service = service  # type: ignore[attr-defined]
            return client

        yield make


@pytest.fixture
def client(make_client: Callable[..., TestClient]) -> TestClient:
    return make_client()


@pytest.fixture
def png(frame: np.ndarray) -> bytes:
    return cv2.imencode(".png", frame[..., ::-1])[1].tobytes()


def error_of(answer: httpx.Response) -> str:
    assert list(answer.json()) == ["error"]
    text = answer.json()["error"]
    assert "expected" in text
    assert "\n" not in text
    return str(text)


def test_the_mask_is_that_of_the_segmenter(
    client: TestClient, png: bytes, frame: np.ndarray, make_bundle: MakeBundle
) -> None:
    answer = client.post(PREDICT, content=png)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    mask = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    with load(make_bundle("again")) as segmenter:
        np.testing.assert_array_equal(mask, segmenter(frame).mask)
    assert "infer;dur=" in answer.headers["server-timing"]


def test_the_numbers(client: TestClient, png: bytes, frame: np.ndarray) -> None:
    values = client.post(PREDICT, params={"output": "json"}, content=png).json()
    described = client.get("/v1/models/toy").json()
    assert values["digest"] == described["digest"] == client.get("/v1/models").json()["models"][0]["digest"]
    assert (values["width"], values["height"], values["runtime"]) == (128, 64, "onnx")
    assert [c["name"] for c in values["classes"]] == ["red", "green", "blue"]
    assert sum(c["pixels"] for c in values["classes"]) == frame.shape[0] * frame.shape[1]
    assert sum(c["share"] for c in values["classes"]) == pytest.approx(1)
    assert values["timings_ms"].keys() == {"wait", "decode", "resize", "infer", "post"}
    assert (described["height"], described["width"]) == (32, 64)


@pytest.mark.parametrize(
    ("output", "accept", "kind"),
    [
        (None, "", "image/png"),
        (None, "*/*", "image/png"),
        (None, "application/json", "application/json"),
        (None, "image/jpeg", "image/jpeg"),
        (None, "application/json;q=0.5, image/*;q=0.9", "image/png"),
        (None, "image/*;q=0.1, image/png;q=0, application/json;q=0.05", "image/jpeg"),
        ("overlay", "*/*", "image/jpeg"),
        ("overlay", "image/png", "image/png"),
        ("json", "text/html, */*;q=0.1", "application/json"),
    ],
)
def test_the_form_is_what_was_asked_for(
    client: TestClient, png: bytes, output: str | None, accept: str, kind: str
) -> None:
    answer = client.post(
        PREDICT, params={"output": output} if output else {}, content=png, headers={"accept": accept}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    if kind != "application/json":
        picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture.shape == ((64, 128) if output is None and kind == "image/png" else (64, 128, 3))


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "image/jpeg;q=nan", "image/png;q=x"])
def test_what_cannot_be_given(client: TestClient, png: bytes, accept: str) -> None:
    answer = client.post(PREDICT, params={"output": "mask"}, content=png, headers={"accept": accept})
    assert answer.status_code == 406
    assert "image/png" in error_of(answer)


def test_a_form_with_one_file(client: TestClient, png: bytes) -> None:
    plain = client.post(PREDICT, content=png)
    assert client.post(PREDICT, files={"image": ("a.png", png)}).content == plain.content
    two = client.post(PREDICT, files={"image": ("a.png", png), "other": ("b.png", png)})
    assert (two.status_code, "one file" in error_of(two)) == (422, True)
    kind = "multipart/form-data; boundary=x"
    part = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + png
    for body in (b"", b"nothing", b"--x--\r\n", part, part + b"\r\n--x"):
        answer = client.post(PREDICT, content=body, headers={"content-type": kind})
        assert answer.status_code == 422, body
        error_of(answer)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=" + "y" * 300):
        answer = client.post(PREDICT, content=part, headers={"content-type": kind})
        assert answer.status_code == 422
        error_of(answer)


def test_every_refusal_is_one_message(client: TestClient, png: bytes) -> None:
    bomb = png[:16] + (30_000).to_bytes(4, "big") * 2 + png[24:]
    cases = {
        413: [(PREDICT, bomb), (PREDICT, bytes(17 << 20))],
        415: [(PREDICT, b"GIF89a"), (PREDICT, b"")],
        422: [(PREDICT, png[:200]), (PREDICT + "?output=video", png)],
        404: [("/v1/models/other/predict", png), ("/v1/model", png)],
        405: [("/v1/models", png)],
    }
    for status, requests in cases.items():
        for path, body in requests:
            answer = client.post(path, content=body)
            assert answer.status_code == status, path
            error_of(answer)
    assert "expected one of toy" in error_of(client.get("/v1/models/other"))
    assert client.post("/v1/models", content=b"").headers["allow"] == "GET"


def test_bodies_of_all_together_are_bounded(make_client: Callable[..., TestClient], png: bytes) -> None:
    client = make_client(Limits(slots=1))
    service = client.service  # type: ignore[attr-defined]
    service.held.take(service.limits.held_bytes - len(png) // 2)
    answer = client.post(PREDICT, content=png)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    error_of(answer)
    service.held.give_back(service.held.bytes)
    assert client.post(PREDICT, content=png).status_code == 200
    assert service.held.bytes == 0


def test_a_full_queue_is_told_at_once(
    make_client: Callable[..., TestClient], png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(Limits(slots=1, queue=1))
    entered, gate = threading.Semaphore(0), threading.Event()
    call = Segmenter.__call__

    def slow(self: Segmenter, *args: object) -> object:
        entered.release()
        gate.wait(30)
        return call(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Segmenter, "__call__", slow)
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(client.post(PREDICT, content=png).status_code))
        for _ in range(2)
    ]
    service = client.service  # type: ignore[attr-defined]
    try:
        threads[0].start()
        assert entered.acquire(timeout=20)
        threads[1].start()
        while service.pool.waiting < 1:
            threads[1].join(0.01)
        answer = client.post(PREDICT, content=png)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "1 at work and 1 waiting" in error_of(answer)
        assert (client.get("/ready").status_code, client.get("/ready").text) == (503, "full\n")
        assert client.get("/live").status_code == 200
        assert "edgeseg_serve_waiting 1\n" in client.get("/metrics").text
        monkeypatch.setattr("edgeseg.serve.service._HUNG_SECONDS", 0.0)
        assert client.get("/live").status_code == 503
    finally:
        gate.set()
    for thread in threads:
        thread.join()
    assert statuses == [200, 200]
    assert client.get("/ready").status_code == 200


def test_who_goes_away_is_passed_over_in_the_queue(
    make_client: Callable[..., TestClient], png: bytes
) -> None:
    client = make_client(Limits(slots=1, queue=1))
    service: Service = client.service  # type: ignore[attr-defined]
    gate = threading.Event()
    running = service.pool.submit(lambda _: gate.wait(30))
    messages = [
        {"type": "http.request", "body": png, "more_body": False},
        {"type": "http.disconnect"},
    ]
    answers = []

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def send(message: dict[str, object]) -> None:
        answers.append(message)

    headers = [(b"host", b"127.0.0.1"), (b"content-length", b"%d" % len(png))]
    scope = {"type": "http", "method": "POST", "path": PREDICT, "query_string": b"", "headers": headers}
    try:
        asyncio.run(client.app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send))
        assert (answers[0]["status"], service.held.bytes) == (400, 0)
    finally:
        gate.set()
    assert running.result(20)
    # Its place is free again once a slot has come to it, and it has run nowhere.
    assert service.pool.submit(lambda _: "next").result(20) == "next"
    assert (service.pool.running, service.pool.waiting) == (0, 0)


def test_stopping_has_one_time_for_requests_and_slots(
    make_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_client(Limits(slots=1, stop_seconds=10)).service  # type: ignore[attr-defined]
    left: list[float] = []
    monkeypatch.setattr(service.pool, "close", left.append)
    for now, act in (
        (100.0, service.stop),
        (107.0, service.stop),
        (107.0, service.close),
        (120.0, service.close),
    ):
        monkeypatch.setattr("edgeseg.serve.service.time", SimpleNamespace(monotonic=lambda now=now: now))
        act()
    assert left == [3.0, 0.0]


@pytest.mark.parametrize(("pieces", "ended"), [(2, False), (20, True)])
def test_a_client_has_one_time_for_a_whole_answer(pieces: int, ended: bool) -> None:
    """Each piece is taken in time, and of many pieces the whole is not."""

    class Patient(GuardedProtocol):
        client_seconds = 0.5

        def __init__(self) -> None:
            self.loop, self._timers, self._answer_due = asyncio.get_running_loop(), {}, None
            self.transport, self.flow = MagicMock(), MagicMock()

    async def drip() -> bool:
        connection = Patient()
        for _ in range(pieces):
            connection.pause_writing()
            await asyncio.sleep(0.05)
            connection.resume_writing()
        return bool(connection.transport.abort.called)

    assert asyncio.run(drip()) == ended


def test_a_runtime_that_fails_is_a_fault_and_not_the_end(
    client: TestClient, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise InferenceError("model", expected="a mask", found="a fault", next_step="Report it.")

        patch.setattr(Segmenter, "__call__", fail)
        answer = client.post(PREDICT, content=png)
    assert answer.status_code == 500
    error_of(answer)
    assert client.post(PREDICT, content=png).status_code == 200


def test_the_token(make_client: Callable[..., TestClient], png: bytes) -> None:
    client = make_client(token=TOKEN, local_only=False)
    good = {"authorization": f"Bearer {TOKEN}"}
    for headers in (
        {},
        {"authorization": "Bearer no"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": b"Bearer \xe4\xff"},
    ):
        for method, path in (("GET", "/v1/models"), ("GET", "/metrics"), ("POST", PREDICT)):
            answer = client.request(method, path, headers=headers, content=png)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
            assert TOKEN not in error_of(answer)
    assert client.get("/live").status_code == client.get("/openapi.json").status_code == 200
    assert client.get("/metrics", headers=good).status_code == 200
    assert client.post(PREDICT, content=png, headers={**good, "host": "road.example"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "[", "127.0.0.1.evil.example", ""])
def test_other_names_for_this_machine_are_refused(client: TestClient, host: str) -> None:
    answer = client.get("/v1/models", headers={"host": host})
    assert (answer.status_code, "127.0.0.1" in error_of(answer)) == (403, True)


def test_what_is_counted(client: TestClient, png: bytes) -> None:
    client.post(PREDICT, content=png)
    client.post(PREDICT, content=b"x")
    client.post("/v1/models/not-there/predict", content=png)
    text = client.get("/metrics").text
    assert 'edgeseg_serve_requests_total{model="toy",status="200"} 1' in text
    assert 'edgeseg_serve_requests_total{model="toy",status="415"} 1' in text
    assert 'edgeseg_serve_requests_total{model="",status="404"} 1' in text
    assert 'edgeseg_serve_request_seconds_count{model="toy"} 1' in text
    assert 'le="+Inf"} 1' in text
    assert "not-there" not in text, "who asks for any name makes no series of it"


def test_bundles_by_name(make_bundle: MakeBundle) -> None:
    first, second = str(make_bundle("one")), str(make_bundle("two"))
    with ExitStack() as stack:
        models = load_models([first, f"other={second}", second], 2, Loading(threads=1), stack)
        assert {name: len(model.instances) for name, model in models.items()} == {
            "one": 2,
            "other": 2,
            "two": 2,
        }
        for wrong in ([first, first], [first, f"one={second}"]):
            with pytest.raises(UsageError, match=r"one twice.*another name"):
                load_models(wrong, 1, Loading(), stack)
        with pytest.raises(UsageError, match="NAME="):
            load_models([f"a/b={first}"], 1, Loading(), stack)
        with pytest.raises(BundleMissingError):
            load_models(["x=nowhere.edgeseg"], 1, Loading(), stack)


def test_nobody_is_let_in_from_elsewhere_without_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert read_token(None) is None
    for host in ("0.0.0.0", "::", "192.0.2.1", "road.example"):
        with pytest.raises(UsageError, match="--token-file"):
            serve(["x.edgeseg"], Endpoint(host), Limits(1), Loading(), lambda *_: None)
    file = tmp_path / "token"
    for wrong in ("short", "", "with spaces in between it", "ümlaut-ümlaut-ümlaut"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(UsageError, match=str(file)) as caught:
            read_token(file)
        assert not wrong or wrong not in str(caught.value)
    file.write_text(TOKEN + "\n")
    assert read_token(file) == TOKEN
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN[::-1])
    assert (read_token(file), read_token(None)) == (TOKEN, TOKEN[::-1])
    with pytest.raises(UsageError, match="openssl"):
        read_token(tmp_path / "missing")


def test_the_address() -> None:
    with bind(Endpoint(port=0)) as listening:
        # asyncio looks for this before it turns off the delay of small packets.
        assert listening.proto == socket.IPPROTO_TCP
        with pytest.raises(UsageError, match="0 for any free one"):
            bind(Endpoint(port=listening.getsockname()[1]))
    with pytest.raises(UsageError, match="an address of this machine"):
        bind(Endpoint("no.such.host.invalid"))


def test_the_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"edgeseg\[serve\]"):
        serve(["x.edgeseg"], Endpoint(), Limits(1), Loading(), lambda *_: None)
