"""The seconds around an event are kept whole, within their bound, and a full disk stops nothing else."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import pytest

from edgeseg.errors import SinkError, UsageError
from edgeseg.loop.sinks import Recorder
from edgeseg.loop.sinks import record as record_module
from toy_masks import published


def events(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith("."))


def sequences(event: Path) -> list[int]:
    return [m["sequence"] for m in json.loads((event / "event.json").read_text())["masks"]]


def test_a_change_of_state_keeps_what_was_before_and_after(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rec", seconds=30)
    recorder.write(published(1, state="STARTING"))
    recorder.write(published(2))
    recorder.write(published(3, state="FAILED", reason="no camera!"))
    recorder.event({"event": "reconnect", "attempt": 1})
    recorder.write(published(4, state="FAILED", reason="no camera!"))
    recorder.finish(4)
    recorder.close()
    recorder.close()
    (event,) = events(tmp_path / "rec")
    assert event.name.startswith("event-2")
    assert event.name.endswith("Z-failed-no-camera")
    assert recorder.recorded == [event]
    about = json.loads((event / "event.json").read_text())
    assert about["reasons"] == ["FAILED no camera!"]
    assert about["events"][0]["attempt"] == 1
    assert sequences(event) == [1, 2, 3, 4]
    assert cv2.imread(str(event / "000000003.jpg")).shape == (64, 96, 3)
    mask = cv2.imread(str(event / "000000003.png"), cv2.IMREAD_UNCHANGED)
    assert sorted(set(mask.ravel().tolist())) == [0, 1]


def test_an_uneventful_run_leaves_nothing(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rec")
    for sequence, state in enumerate(("STARTING", "OK", "OK", "STOPPING"), 1):
        recorder.write(published(sequence, state=state))
    recorder.finish(4)
    recorder.close()
    assert not (tmp_path / "rec").exists()
    assert recorder.output is None


def test_a_run_of_late_masks_is_an_event_and_one_is_none(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, seconds=30)
    for sequence in range(1, 41):
        recorder.write(published(sequence, late=sequence % 10 == 0 or sequence > 25))
    recorder.finish(40)
    (event,) = events(tmp_path)
    assert event.name.endswith("late-masks")
    assert json.loads((event / "event.json").read_text())["reasons"] == ["late masks"]


def test_only_the_seconds_asked_for_are_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, seconds=1.5)
    recorder.write(published(1))
    time.sleep(1.7)
    recorder.write(published(2))
    recorder.trigger("asked")
    recorder.write(published(3))
    time.sleep(1.7)
    recorder.write(published(4))
    recorder.finish(4)
    recorder.close()
    (event,) = events(tmp_path)
    assert sequences(event) == [2, 3]


def test_an_event_ends_when_nothing_comes_any_more(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, seconds=0.1)
    recorder.write(published(1))
    recorder.event({"event": "state", "state": "FAILED", "reason": ""})
    deadline = time.monotonic() + 10
    while not events(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sequences(events(tmp_path)[0]) == [1]
    recorder.close()


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "_MEMORY_BYTES", 10_000)
    recorder = Recorder(tmp_path, seconds=60)
    for sequence in range(1, 101):
        recorder.write(published(sequence))
    assert 0 < sum(m.size for m in recorder._ring) <= 10_000
    recorder.trigger("x")
    for sequence in range(101, 201):
        recorder.write(published(sequence))
    recorder.finish(200)
    assert sum(f.stat().st_size for f in events(tmp_path)[0].glob("*.[jp]*g")) <= 20_000


def test_the_oldest_events_make_room_and_nothing_else_goes(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep").write_bytes(bytes(10_000))
    old = tmp_path / "event-20200101T000000.000Z-old"
    old.mkdir()
    (old / "000000001.jpg").write_bytes(bytes(15_000))
    recorder = Recorder(tmp_path, seconds=30, max_mb=0.016)
    for sequence in range(1, 4):
        recorder.write(published(sequence))
    recorder.trigger("new")
    recorder.finish(3)
    assert [p.name[-4:] for p in events(tmp_path)] == ["-new", "mine"]


def test_of_an_event_over_the_bound_the_last_is_kept(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, seconds=30, max_mb=0.005)
    for sequence in range(1, 51):
        recorder.write(published(sequence))
    recorder.trigger("x")
    recorder.finish(50)
    (event,) = events(tmp_path)
    pictures = sorted(event.glob("*.jpg"))
    assert pictures[-1].name == "000000050.jpg"
    assert sum(f.stat().st_size for f in event.glob("*.[jp]*g")) <= 5000


def test_a_full_disk_is_said_once_and_then_nothing_more_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    recorder = Recorder(tmp_path, seconds=30)
    monkeypatch.setattr(Path, "write_bytes", full)
    recorder.write(published(1))
    recorder.trigger("x")
    with pytest.raises(SinkError, match="No space left"):
        recorder.finish(1)
    recorder.write(published(2))
    recorder.event({"event": "state", "state": "FAILED", "reason": ""})
    recorder.trigger("y")
    recorder.close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_has_left_is_removed(tmp_path: Path) -> None:
    leftover = tmp_path / ".event-20250101T000000.000Z-x.0123abcd.part"
    leftover.mkdir()
    Recorder(tmp_path).close()
    assert not leftover.exists()


def test_wrong_arguments(tmp_path: Path) -> None:
    for values in ({"seconds": 0}, {"max_mb": -1}, {"seconds": float("nan")}):
        with pytest.raises(UsageError, match="more than 0"):
            Recorder(tmp_path, **values)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SinkError):
        Recorder(tmp_path / "file")
    shutil.rmtree(tmp_path)
