"""What is written is whole, playable and as long as its source, or it is not there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.errors import SinkError
from edgeseg.loop import LoopPlan, LoopReport, open_sink, run_loop
from edgeseg.loop.sinks import NoSink, Published, Stamp, VideoSink
from edgeseg.loop.sinks.encoders import FFMPEG_H264, MPEG4, choose_codec
from toys import write_bundle, write_video

ReadVideo = Callable[[Path], tuple[list[np.ndarray], float]]


@pytest.fixture
def publish(bundle: Path) -> Any:
    """``publish(position, level=…, size=…)``: a mask whose frame is of one grey."""
    with edgeseg.load(bundle) as segmenter:

        def make(position: int, level: int = 100, size: tuple[int, int] = (64, 128)) -> Published:
            frame = np.full((*size, 3), level, np.uint8)
            return Published(segmenter(frame), position, 1.0, "age 1 ms", Stamp(position + 1))

        yield make


class Run:
    """The loop over a drive of 30 frames, into everything that is a file."""

    def __init__(self, folder: Path, *, every_frame: bool) -> None:
        toy, drive = write_bundle(folder / "toy.edgeseg"), write_video(folder / "drive.mp4")
        self.out = folder / "new"
        self.places = [self.out / name for name in ("out.mp4", "masks.mp4", "folder", "log.jsonl")]
        sinks = [str(place).replace(f"{self.out}/masks", f"masks:{self.out}/masks") for place in self.places]
        self.report: LoopReport = run_loop(
            LoopPlan(str(toy), str(drive), tuple(sinks), every_frame=every_frame)
        )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("whole"), every_frame=True)


@pytest.fixture(scope="module")
def real_time(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("real-time"), every_frame=False)


def levels(frames: list[np.ndarray]) -> list[int]:
    """Which grey was blended with half of the class's blue, 40, in each frame; as a multiple of 40."""
    return [round((float(f[20:40, 60:100, 2].mean()) * 2 - 40) / 40) for f in frames]


def test_a_video_has_its_sources_size_rate_and_length(whole: Run, read_video: ReadVideo) -> None:
    for video in whole.places[:2]:
        frames, fps = read_video(video)
        assert (len(frames), fps, frames[0].shape) == (30, 25.0, (64, 128, 3))
    assert [sink.output for sink in whole.report.sinks] == whole.places
    assert [sink.written for sink in whole.report.sinks] == [30] * 4
    assert {path.name for path in whole.out.iterdir()} == {place.name for place in whole.places}


@pytest.mark.parametrize("fps", [10.0, 23.976, 25.0, 29.97, 30.0, 59.94])
def test_frame_rates_are_kept(publish: Any, tmp_path: Path, read_video: ReadVideo, fps: float) -> None:
    sink = VideoSink(tmp_path / "out.mp4", fps)
    for position in range(5):
        sink.write(publish(position))
    sink.finish(5)
    frames, found = read_video(tmp_path / "out.mp4")
    assert len(frames) == 5
    assert found == pytest.approx(fps, rel=1e-3)


@pytest.mark.parametrize("size", [(63, 127), (64, 127), (17, 33)])
def test_odd_sizes_lose_a_row_or_column_and_nothing_else(
    publish: Any, tmp_path: Path, read_video: ReadVideo, size: tuple[int, int]
) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(0, size=size))
    sink.finish(1)
    frames, _ = read_video(tmp_path / "out.mp4")
    assert [f.shape[:2] for f in frames] == [(size[0] // 2 * 2, size[1] // 2 * 2)]


def test_dropped_frames_are_held(publish: Any, tmp_path: Path, read_video: ReadVideo) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(2, 40))
    sink.write(publish(3, 120))
    sink.write(publish(6, 200))
    sink.finish(9)
    frames, _ = read_video(tmp_path / "out.mp4")
    assert levels(frames) == [1, 1, 1, 3, 3, 3, 5, 5, 5]


def test_real_time_keeps_the_sources_length(real_time: Run, read_video: ReadVideo) -> None:
    for video in real_time.places[:2]:
        frames, fps = read_video(video)
        assert (len(frames), fps) == (30, 25.0)
    assert real_time.report.mode == "real-time"


def test_in_real_time_each_sink_tells_what_it_took(real_time: Run) -> None:
    masks, lines = real_time.places[2:]
    taken = {sink.output: sink.written for sink in real_time.report.sinks}
    assert len(list(masks.glob("*.png"))) == taken[masks] > 0
    events = [json.loads(line) for line in lines.read_text().splitlines()]
    positions = [event["position"] for event in events if event["event"] == "mask"]
    assert len(positions) == taken[lines]
    assert positions == sorted(set(positions))
    states = [(event["state"], event["reason"]) for event in events if event["event"] == "state"]
    assert ("OK", "") in states


def test_a_video_of_masks_has_the_classes_colours(
    publish: Any, tmp_path: Path, read_video: ReadVideo
) -> None:
    sink = open_sink(f"masks:{tmp_path / 'out.mp4'}", 25)
    masks = publish(0)
    sink.write(masks)
    sink.finish(2)
    frames, _ = read_video(tmp_path / "out.mp4")
    expected = masks.segmentation.labels.colorize(masks.segmentation.mask)
    assert len(frames) == 2
    assert np.abs(frames[0].astype(int) - expected).mean() < 12


@pytest.mark.parametrize("codec", [MPEG4, FFMPEG_H264])
def test_every_encoder_writes_all_frames(
    publish: Any, tmp_path: Path, read_video: ReadVideo, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    if codec == FFMPEG_H264 != choose_codec():
        pytest.skip("needs ffmpeg with libx264")
    monkeypatch.setattr("edgeseg.loop.sinks.video.choose_codec", lambda: codec)
    sink = VideoSink(tmp_path / "out.mp4", 25)
    assert sink.codec == codec
    for position, level in enumerate((40, 120, 200)):
        sink.write(publish(position, level))
    sink.finish(4)
    sink.close()
    frames, fps = read_video(tmp_path / "out.mp4")
    assert (levels(frames), fps) == ([1, 3, 5, 5], 25.0)
    assert [p.name for p in tmp_path.glob("*.mp4")] == ["out.mp4"]


def test_an_encoder_that_dies_is_an_error(publish: Any, tmp_path: Path) -> None:
    if choose_codec() != FFMPEG_H264:
        pytest.skip("needs ffmpeg with libx264")
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(0))
    sink._encoder._process.kill()
    with pytest.raises(SinkError, match="expected a file that can be written"):
        for position in range(1, 50):
            sink.write(publish(position))
        sink.finish(50)
    sink.close()
    assert not list(tmp_path.glob("*.mp4"))


def test_an_unfinished_video_leaves_nothing(publish: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(0))
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("*.mp4")):  # a process of its own makes it
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not (tmp_path / "out.mp4").exists()
    sink.close()
    sink.close()
    assert not list(tmp_path.glob("*.mp4"))


def test_a_video_without_frames_is_no_file(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.finish(0)
    sink.close()
    assert sink.output is None
    assert not list(tmp_path.iterdir())


def test_an_older_video_is_replaced_only_by_a_whole_one(publish: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"older")
    sink = VideoSink(out, 25)
    sink.write(publish(0))
    sink.close()
    assert out.read_bytes() == b"older"


def test_a_video_that_lost_frames_is_refused(
    publish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(0))
    monkeypatch.setattr("edgeseg.loop.sinks.video._count_frames", lambda path: 0)
    with pytest.raises(SinkError, match="free space"):
        sink.finish(1)
    sink.close()
    assert not list(tmp_path.glob("*.mp4"))


def test_pictures_of_another_size(publish: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(0))
    with pytest.raises(SinkError, match="128×64"):
        sink.write(publish(1, size=(32, 32)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file system that is always full")
def test_a_full_disk(publish: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink._staged.path.symlink_to("/dev/full")
    with pytest.raises(SinkError, match="free space"):
        for position in range(3):
            sink.write(publish(position))
        sink.finish(3)
    sink.close()
    assert not list(tmp_path.glob("*.mp4"))


def test_a_folder_of_masks(whole: Run) -> None:
    folder = whole.places[2]
    names = sorted(p.name for p in folder.iterdir())
    assert len(names) == 60
    assert names[:3] == ["000000.png", "000000_overlay.jpg", "000001.png"]
    mask = cv2.imread(str(folder / "000007.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (64, 128)
    assert mask.max() <= 2


def test_two_runs_do_not_mix_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "000000.png").write_bytes(b"older")
    with pytest.raises(SinkError, match=r"000000\.png"):
        open_sink(str(tmp_path), 25)


def test_sinks_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mp4").mkdir()
    for text in ("file", "file/out.mp4", "file/out", "folder.mp4", "out.avi", "out.mkv"):
        with pytest.raises(SinkError) as caught:
            open_sink(str(tmp_path / text), 25)
        assert caught.value.exit_code == 7


@pytest.mark.skipif(bool(cv2.currentUIFramework()), reason="this OpenCV can show windows")
def test_a_headless_opencv_has_no_window() -> None:
    with pytest.raises(SinkError, match="opencv-python"):
        open_sink("window", 25)


def test_none_takes_everything(publish: Any) -> None:
    sink = open_sink("none", 25)
    assert isinstance(sink, NoSink)
    sink.write(publish(0))
    sink.finish(1)
    sink.close()
    assert sink.output is None


def test_masks_that_are_too_old_say_so(publish: Any) -> None:
    from dataclasses import replace

    valid = publish(0, size=(240, 320))
    old = replace(valid, segmentation=replace(valid.segmentation, valid=False))
    late = replace(old, stamp=replace(old.stamp, late=True))
    first, second, third = (each.picture() for each in (valid, old, late))
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)
