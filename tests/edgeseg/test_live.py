"""The live page shows the road and the state, and no browser holds the loop up."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.errors import SinkError
from edgeseg.loop.sinks import Figures, LiveSink, live
from edgeseg.loop.sinks.live_server import MOST_VIEWERS
from toy_masks import published


@pytest.fixture
def sink() -> Iterator[LiveSink]:
    sink = LiveSink("127.0.0.1", 0, fps=1000)
    yield sink
    sink.close()
    sink.close()


def get(sink: LiveSink, path: str, **headers: str) -> tuple[int, bytes]:
    request = urllib.request.Request(sink.name + path, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def status(sink: LiveSink) -> dict[str, Any]:
    return dict(json.loads(get(sink, "/status.json")[1]))


def connect(sink: LiveSink, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(sink.name.rpartition(":")[2])), timeout=10)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return connection


def test_the_page_needs_nothing_from_elsewhere(sink: LiveSink) -> None:
    code, page = get(sink, "/")
    assert code == 200
    assert b"<title>edgeseg live</title>" in page
    assert b"http://" not in page
    assert b"https://" not in page
    assert get(sink, "/etc/passwd")[0] == 404


def test_the_status(sink: LiveSink) -> None:
    assert status(sink) == {"sequence": 0, "state": "STARTING", "reason": ""}
    figures = Figures(fps=24.6, decode_ms=3.0, wait_ms=1.25, dropped=4)
    sink.write(published(9, state="DEGRADED", reason="too slow", figures=figures, epoch=2))
    values = status(sink)
    assert (values["sequence"], values["epoch"], values["dropped"], values["fps"]) == (9, 2, 4, 24.6)
    assert (values["state"], values["reason"], values["size"]) == ("DEGRADED", "too slow", [96, 64])
    expected = {"decode": 3.0, "wait": 1.25, "resize": 1.0, "infer": 20.0, "post": 0.5, "sink": None}
    assert values["latency_ms"] == expected
    assert values["classes"][1] == {"name": "car", "color": [0, 60, 180], "share": 0.5}
    assert values["since_ms"] >= 0


def test_a_state_without_a_mask_shows_until_the_next_mask(sink: LiveSink) -> None:
    sink.write(published(1))
    sink.event({"event": "state", "state": "FAILED", "reason": "the camera is gone"})
    assert (status(sink)["state"], status(sink)["reason"]) == ("FAILED", "the camera is gone")
    sink.write(published(2))
    assert status(sink)["state"] == "OK"


def test_the_newest_picture(sink: LiveSink) -> None:
    sink.write(published(1, value=0))
    sink.write(published(2, value=1))
    code, jpeg = get(sink, "/frame.jpg")
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert code == 200
    assert picture.shape == (64, 96, 3)
    assert picture[32, 48, 0] > picture[32, 48, 2] + 30, "the car's blue"


def test_a_picture_is_waited_for_and_drawn_only_when_somebody_looks(
    sink: LiveSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    encode = live._encode
    monkeypatch.setattr(live, "_encode", lambda p: drawn.append(p.stamp.sequence) or encode(p))
    monkeypatch.setattr("edgeseg.loop.sinks.live_server._PICTURE_WAIT_SECONDS", 0.2)
    for sequence in range(1, 6):
        sink.write(published(sequence))
    status(sink)
    assert drawn == []
    for _ in range(3):
        get(sink, "/frame.jpg")
    assert drawn == [5]
    assert get(sink, "/frame.jpg?after=5") == (204, b"")
    monkeypatch.setattr("edgeseg.loop.sinks.live_server._PICTURE_WAIT_SECONDS", 20)
    threading.Timer(0.05, sink.write, (published(6),)).start()
    assert get(sink, "/frame.jpg?after=5")[0] == 200
    assert drawn == [5, 6]


def test_the_stream_gives_the_newest(sink: LiveSink) -> None:
    sink.write(published(1))
    with connect(sink, "/stream.mjpg") as viewer, viewer.makefile("rb") as stream:
        assert b"200" in stream.readline()
        for sequence in range(2, 5):
            while (line := stream.readline()) and not line.startswith(b"Content-Length"):
                pass
            stream.readline()
            jpeg = stream.read(int(line.split()[1]))
            assert jpeg.startswith(b"\xff\xd8")
            sink.write(published(sequence))


def test_frames_may_be_used_again_as_soon_as_they_were_given(sink: LiveSink) -> None:
    mask = published(1, value=1)
    sink.write(mask)
    mask.segmentation.frame[:] = 255
    mask.segmentation.mask[:] = 0
    picture = cv2.imdecode(np.frombuffer(get(sink, "/frame.jpg")[1], np.uint8), cv2.IMREAD_COLOR)
    assert picture[32, 48].max() < 180


def test_more_viewers_than_there_is_room_for(sink: LiveSink) -> None:
    sink.write(published(1))
    viewers = [connect(sink, "/stream.mjpg") for _ in range(MOST_VIEWERS)]
    for viewer in viewers:
        viewer.recv(100)
    assert get(sink, "/frame.jpg")[0] == 503
    assert get(sink, "/status.json")[0] == 200
    for viewer in viewers:
        viewer.close()


def test_a_browser_that_takes_nothing_holds_nobody_up(sink: LiveSink) -> None:
    viewers = [connect(sink, "/stream.mjpg") for _ in range(4)]
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    mask = published(1, size=(480, 640))
    slowest = 0.0
    for sequence in range(2, 60):
        mask = published(sequence, size=(480, 640))
        mask.segmentation.frame[:] = noise
        started = time.perf_counter()
        sink.write(mask)
        slowest = max(slowest, time.perf_counter() - started)
        time.sleep(0.005)
    assert slowest < 1, "the socket's own timeout is five seconds"
    assert get(sink, "/frame.jpg")[0] == 200
    started = time.perf_counter()
    sink.close()
    assert time.perf_counter() - started < 2
    for viewer in viewers:
        viewer.close()


def test_other_names_for_this_machine_are_refused(sink: LiveSink) -> None:
    assert get(sink, "/frame.jpg", Host="evil.example")[0] == 403
    assert get(sink, "/", Host="localhost:99")[0] == 200


def test_a_port_that_is_taken(sink: LiveSink) -> None:
    with pytest.raises(SinkError, match="another port"):
        LiveSink("127.0.0.1", int(sink.name.rpartition(":")[2]))


@pytest.mark.heavy
def test_a_person_sees_the_road_and_the_state(sink: LiveSink, tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next((name for name in names if shutil.which(name)), None)
    if chromium is None:
        pytest.skip("needs Chromium")
    command = [
        *(chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"),
        *("--virtual-time-budget=600", "--window-size=1280,800"),
    ]

    def browse(option: str) -> str:
        return subprocess.run(
            [*command, option, sink.name], capture_output=True, text=True, timeout=120
        ).stdout

    sink.write(published(3, size=(240, 320), value=1, state="DEGRADED", reason="inference is slow"))
    time.sleep(1.2)
    page = browse("--dump-dom")
    assert 'role="status">STALE<' in page, "no mask has come for over a second, and the page itself says so"
    assert "DEGRADED: inference is slow" in page
    assert 'src="blob:' in page
    sink.event({"event": "state", "state": "FAILED", "reason": "the camera is gone"})
    page = browse("--dump-dom")
    assert 'role="status">FAILED<' in page
    assert "the camera is gone" in page
    shot = tmp_path / "live.png"
    browse(f"--screenshot={shot}")
    picture = cv2.imread(str(shot)).astype(int)
    grey = (np.ptp(picture, axis=-1) < 8) & (picture[..., 0] > 25) & (picture[..., 0] < 120)
    assert grey[80:500, 20:900].mean() > 0.3, "the frame, without its colours since it is not live"
