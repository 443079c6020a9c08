"""Masks through ZeroMQ come whole, and a slow subscriber loses some without holding anybody up."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import MissingExtraError, SinkError
from edgeseg.loop.sinks import ZmqSink, open_sink
from toy_masks import published


def subscriber(sink: ZmqSink, **options: int) -> Any:
    zmq = pytest.importorskip("zmq")
    socket = zmq.Context.instance().socket(zmq.SUB)
    socket.setsockopt(zmq.LINGER, 0)
    for name, value in {"RCVTIMEO": 200, **options}.items():
        socket.setsockopt(getattr(zmq, name), value)
    socket.connect(sink.endpoint)
    socket.subscribe(b"")
    return socket


def receive(sink: ZmqSink, socket: Any, mask: Any) -> list[bytes]:
    """Publish until the subscription has arrived: ZeroMQ does not say when."""
    zmq = pytest.importorskip("zmq")
    for _ in range(50):
        sink.write(mask)
        try:
            return list(socket.recv_multipart())
        except zmq.Again:
            continue
    raise TimeoutError("nothing arrived")


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_mask_comes_with_its_stamp(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("zmq")
    sink = open_sink("zmq://127.0.0.1:0" if kind == "tcp" else f"zmq+ipc://{tmp_path / 'masks'}", 25)
    assert isinstance(sink, ZmqSink)
    socket = subscriber(sink)
    mask = published(4, epoch=2, state="DEGRADED", reason="slow")
    topic, metadata, pixels = receive(sink, socket, mask)
    values = json.loads(metadata)
    assert topic == b"mask"
    assert (values["sequence"], values["epoch"], values["state"], values["dtype"]) == (
        4,
        2,
        "DEGRADED",
        "uint8",
    )
    assert values["labels"] == ["road", "car", "tree"]
    found = np.frombuffer(pixels, np.uint8).reshape(values["shape"])
    np.testing.assert_array_equal(found, mask.segmentation.mask)
    socket.setsockopt(pytest.importorskip("zmq").RCVTIMEO, 20_000)
    sink.event({"event": "state", "state": "FAILED", "reason": "no camera"})
    while (parts := socket.recv_multipart())[0] != b"event":
        pass
    assert json.loads(parts[1])["state"] == "FAILED"
    socket.close()
    sink.close()
    sink.close()
    sink.write(mask)


def test_a_slow_subscriber_loses_masks_and_gets_whole_ones() -> None:
    zmq = pytest.importorskip("zmq")
    sink = open_sink("zmq://127.0.0.1:0?mask=model", 25)
    assert isinstance(sink, ZmqSink)
    socket = subscriber(sink, RCVHWM=1, RCVBUF=4096)
    receive(sink, socket, published(1, size=(480, 640)))
    mask, slowest = published(2, size=(480, 640)), 0.0
    for _ in range(300):
        started = time.perf_counter()
        sink.write(mask)
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 1
    socket.setsockopt(zmq.RCVTIMEO, 2000)
    received = 0
    try:
        while True:
            parts = socket.recv_multipart()
            assert len(parts[2]) == 240 * 320
            received += 1
    except zmq.Again:
        assert 0 < received < 300
    socket.close()
    sink.close()


def test_a_port_that_is_taken() -> None:
    pytest.importorskip("zmq")
    sink = open_sink("zmq://127.0.0.1:0", 25)
    with pytest.raises(SinkError, match="another port"):
        open_sink(sink.name, 25)
    sink.close()


def test_without_pyzmq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(MissingExtraError, match=r"edgeseg\[zmq\]"):
        open_sink("zmq://127.0.0.1:0", 25)
