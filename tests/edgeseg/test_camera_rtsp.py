"""An RTSP camera on loopback that dies and comes back."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from edgeseg.camera import Source, live, open_source
from edgeseg.errors import SourceError
from rtsp_camera import RtspCamera


@pytest.fixture
def server() -> Iterator[RtspCamera]:
    server = RtspCamera()
    server.start()
    yield server
    server.kill()


def seconds_until_lost(source: Source) -> float:
    started = time.monotonic()
    with pytest.raises(SourceError):
        while time.monotonic() < started + 30:
            source.read()
    source.close()
    return time.monotonic() - started


def test_a_camera_killed_and_restarted_three_times(server: RtspCamera) -> None:
    for _ in range(3):
        source = open_source(server.address)
        assert (source.live, source.frame_size) == (True, (240, 320))
        for index in range(5):
            frame = source.read()
            assert frame is not None
            assert (frame.index, frame.image.shape, frame.clock) == (index, (240, 320, 3), "arrival")
        server.kill()
        assert seconds_until_lost(source) < live.READ_TIMEOUT_MS / 1000 + 1
        with pytest.raises(SourceError, match="opens"):
            open_source(server.address)
        server.start()
    source = open_source(server.address)
    assert source.read() is not None
    source.close()


def test_a_camera_that_falls_silent(server: RtspCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "READ_TIMEOUT_MS", 1000)
    source = open_source(server.address)
    source.read()
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    assert 0.5 < seconds_until_lost(source) < 4


def test_its_password_is_never_told(server: RtspCamera, capfd: pytest.CaptureFixture[str]) -> None:
    address = server.address.replace("rtsp://", "rtsp://me:secret@")
    source = open_source(address)
    source.read()
    assert source.name == server.address.replace("rtsp://", "rtsp://…@")
    server.kill()
    with pytest.raises(SourceError) as caught:
        for _ in range(500):
            source.read()
    source.close()
    with pytest.raises(SourceError) as not_opened:
        open_source(address)
    written = "".join(capfd.readouterr())
    assert "secret" not in f"{caught.value} {not_opened.value} {written}"
