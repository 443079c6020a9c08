"""The dashboard's client of 'edgeseg serve', against a tiny server that answers as it does, or wrongly."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.dashboard.service import open_services, split_url
from edgeseg.errors import InferenceError, UsageError
from toys import CLASSES

CHANNELS = [{"id": i, "name": n, "color": list(c)} for i, (n, c) in enumerate(CLASSES)]
TOY = {
    "name": "toy",
    "digest": "d1",
    "runtime": "onnx",
    "precision": "fp32",
    "height": 32,
    "width": 64,
    "classes": CHANNELS,
}
IMAGE = np.random.default_rng(1).integers(0, 256, (20, 30, 3)).astype(np.uint8)
Answer = tuple[int, bytes, dict[str, str]]


class Fake:
    """What the server answers: ``models`` to the listing, and ``answer(image RGB)`` to a picture."""

    def __init__(self) -> None:
        self.models: Any = {"models": [TOY, {**TOY, "name": "other", "digest": "d2"}]}
        self.answer: Callable[[np.ndarray], Answer] = strongest
        self.seen: list[tuple[str, str | None]] = []
        self.url = ""


def png(mask: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", mask)[1])


def strongest(image: np.ndarray) -> Answer:
    mask = np.argmax(image, axis=-1).astype(np.uint8)
    return 200, png(mask), {"Server-Timing": "wait;dur=0.100, infer;dur=4.250"}


@pytest.fixture
def fake() -> Iterator[Fake]:
    state = Fake()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, json.dumps(state.models).encode(), {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bgr = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
            self._send(*state.answer(bgr[..., ::-1]))

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            state.seen.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def test_every_model_of_a_service_or_the_one_named(fake: Fake) -> None:
    toy, other = open_services(fake.url)
    assert (toy.name, other.name) == ("toy", "other")
    assert toy.labels.names == ("red", "green", "blue")
    assert toy.kind.startswith("onnx fp32 at 127.0.0.1:")
    assert toy.digest != other.digest
    for url in (f"{fake.url}/v1/models/other", f"{fake.url}/v1/models/other/predict"):
        assert [model.name for model in open_services(url)] == ["other"]
    with pytest.raises(UsageError, match="models: toy, other, found third"):
        open_services(f"{fake.url}/v1/models/third")


def test_its_mask_its_times_and_the_token(fake: Fake) -> None:
    (toy,) = open_services(f"{fake.url}/v1/models/toy", token="secret")
    found = toy.predict(IMAGE)
    assert np.array_equal(found.mask, IMAGE.argmax(axis=-1))
    assert found.stages_ms == {"wait": 0.1, "infer": 4.25}
    assert found.total_ms > 0
    assert found.confidence is None
    assert fake.seen[-1] == ("/v1/models/toy/predict?output=mask", "Bearer secret")


@pytest.mark.parametrize(
    ("status", "body", "headers", "told"),
    [
        (200, png(np.zeros((20, 31), np.uint8)), {}, "size, 20x30, found a picture of 20x31"),
        (200, png(np.zeros((20, 30, 3), np.uint8)), {}, "one channel of class ids, found"),
        (200, png(np.zeros((20, 30), np.uint8))[:40], {}, "ends after 40 bytes"),
        (200, b"<html>", {}, "found 6 bytes that begin with"),
        (503, b'{"error": "service: full. Send it again."}', {}, "503 Service Unavailable: service: full"),
        (401, b'{"error": "Authorization: expected"}', {}, "Give its token in EDGESEG_SERVE_TOKEN"),
        (502, b"<html>a proxy</html>", {}, "502 Bad Gateway: <html>a proxy</html>"),
        (302, b"", {"Location": "http://127.0.0.1:9/elsewhere"}, "302 Found"),
    ],
)
def test_what_is_no_mask_of_this_image_is_one_message(
    fake: Fake, status: int, body: bytes, headers: dict[str, str], told: str
) -> None:
    (toy,) = open_services(f"{fake.url}/v1/models/toy")
    fake.answer = lambda image: (status, body, headers)
    with pytest.raises(InferenceError) as caught:
        toy.predict(IMAGE)
    assert told in str(caught.value)
    assert str(caught.value).startswith(fake.url)


@pytest.mark.parametrize("models", [[], {"models": [{"name": "x"}]}, {"models": 3}, "text"])
def test_what_is_no_listing_is_one_message(fake: Fake, models: Any) -> None:
    fake.models = models
    with pytest.raises(InferenceError, match="expected the answer of 'edgeseg serve'"):
        open_services(fake.url)


def test_nobody_there() -> None:
    with pytest.raises(InferenceError, match="Check that 'edgeseg serve' runs there"):
        open_services("http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "http://", "http://h?x=1", "http://[::1"])
def test_no_other_kind_of_address(url: str) -> None:
    with pytest.raises(UsageError, match="expected the address of a service"):
        split_url(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(InferenceError) as caught:
        open_services("http://me:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
