"""What a person writes after --sink opens what it names, or says what is wrong with it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edgeseg.errors import SinkError
from edgeseg.loop.sinks import SINKS, NoSink, VideoSink, open_sink, open_sinks, send_event
from edgeseg.loop.sinks.address import Address, host_and_port


@pytest.mark.parametrize(
    ("text", "scheme", "place"),
    [
        ("none", "none", ""),
        ("-", "-", ""),
        ("out.mp4", ".mp4", "out.mp4"),
        ("record:events", "record", "events"),
        ("masks:a/b.mp4", "masks", "a/b.mp4"),
        ("log.jsonl?max_mb=3", ".jsonl", "log.jsonl"),
        ("is it a folder?", "folder", "is it a folder?"),
        ("HTTP://127.0.0.1:0", "http", "127.0.0.1:0"),
        ("shm://road?mask=model", "shm", "road"),
        ("zmq+ipc:///run/masks", "zmq+ipc", "/run/masks"),
        ("ros2://camera/mask", "ros2", "camera/mask"),
    ],
)
def test_an_address_is_taken_apart(text: str, scheme: str, place: str) -> None:
    address = Address.parse(text)
    assert (address.scheme, address.place) == (scheme, place)
    assert scheme in SINKS


def test_hosts_and_ports() -> None:
    assert host_and_port(Address.parse("http://[::1]:80/")) == ("::1", 80)
    for wrong in ("http://127.0.0.1", "http://:80", "http://a:b", "http://a:70000", "zmq://"):
        with pytest.raises(SinkError, match="HOST:PORT"):
            host_and_port(Address.parse(wrong))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gopher://x", "gopher"),
        ("out.avi", r"\.avi"),
        ("x.jsonl?max_mb=0", "greater than 0"),
        ("x.jsonl?max_mb=nan", "greater than 0"),
        ("x.jsonl?size=3", "no option but max_mb"),
        ("x.jsonl?nonsense", "name=value"),
        ("shm://a/b", "letters"),
        ("shm://.a", "letters"),
        ("shm://a?mask=big", "mask=frame or mask=model"),
        ("http://127.0.0.1:0?depth=3", "no option but fps"),
    ],
)
def test_wrong_addresses(text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SinkError, match=says) as caught:
        open_sink(text, 25)
    assert caught.value.next_step.endswith(".")
    assert not list(tmp_path.iterdir())


def test_several_at_once(tmp_path: Path) -> None:
    texts = ["none", str(tmp_path / "a.mp4"), f"masks:{tmp_path / 'b.mp4'}", str(tmp_path / "c.jsonl")]
    sinks = open_sinks(texts, 25)
    assert [type(s).__name__ for s in sinks] == ["NoSink", "VideoSink", "VideoSink", "JsonLinesSink"]
    for sink in sinks:
        sink.close()
        sink.close()


def test_two_sinks_on_one_file(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="writes to the same"):
        open_sinks([str(tmp_path / "a.mp4"), f"masks:{tmp_path / 'x' / '..' / 'a.mp4'}"], 25)
    assert not list(tmp_path.iterdir())
    for sink in open_sinks(["http://127.0.0.1:0", "http://127.0.0.1:0", "none", "none"], 25):
        sink.close()


def test_when_one_cannot_be_opened_the_others_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(VideoSink, "close", lambda self: closed.append(self.name))
    with pytest.raises(SinkError, match=r"\.avi"):
        open_sinks([str(tmp_path / "a.mp4"), "b.avi"], 25)
    assert closed == [str(tmp_path / "a.mp4")]


def test_sinks_that_take_no_events_are_spared_them() -> None:
    send_event(NoSink(), {"event": "state", "state": "OK", "reason": ""})


def test_a_host_that_is_not_this_machine_alone_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        open_sink("http://127.0.0.1:0", 25).close()
        assert not caplog.records
        open_sink("http://0.0.0.0:0", 25).close()
    assert len(caplog.records) == 1
    assert "everyone who reaches this machine" in caplog.text
