"""What is written is whole, playable and as long as its source, or it is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.camera import open_source
from edgeseg.errors import SinkError
from edgeseg.loop import open_sink, run_loop
from edgeseg.loop.sinks import FolderSink, NoSink, Published, VideoSink

ReadVideo = Callable[[Path], tuple[list[np.ndarray], float]]


@pytest.fixture
def publish(bundle: Path) -> Any:
    """``publish(position, level=…, size=…)``: a mask whose frame is of one grey."""
    with edgeseg.load(bundle) as segmenter:

        def make(position: int, level: int = 100, size: tuple[int, int] = (64, 128)) -> Published:
            frame = np.full((*size, 3), level, np.uint8)
            return Published(segmenter(frame), position, 1.0, "age 1 ms")

        yield make


def levels(frames: list[np.ndarray]) -> list[int]:
    """Which grey was blended with half of the class's blue, 40, in each frame; as a multiple of 40."""
    return [round((float(f[20:40, 60:100, 2].mean()) * 2 - 40) / 40) for f in frames]


def test_a_video_has_its_sources_size_rate_and_length(
    bundle: Path, video: Path, tmp_path: Path, read_video: ReadVideo
) -> None:
    out = tmp_path / "new" / "out.mp4"
    source = open_source(str(video))
    with edgeseg.load(bundle) as segmenter:
        report = run_loop(segmenter, source, open_sink(str(out), source.fps), every_frame=True)
    frames, fps = read_video(out)
    assert report.output == out
    assert (len(frames), fps, frames[0].shape) == (30, 25.0, (64, 128, 3))
    assert [p.name for p in out.parent.iterdir()] == ["out.mp4"]


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


def test_real_time_keeps_the_sources_length(
    bundle: Path, video: Path, tmp_path: Path, read_video: ReadVideo
) -> None:
    source = open_source(str(video))
    with edgeseg.load(bundle) as segmenter:
        run_loop(segmenter, source, open_sink(str(tmp_path / "out.mp4"), source.fps))
    frames, fps = read_video(tmp_path / "out.mp4")
    assert (len(frames), fps) == (30, 25.0)


def test_an_unfinished_video_leaves_nothing(publish: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 25)
    sink.write(publish(0))
    assert len(list(tmp_path.glob("*.mp4"))) == 1
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


def test_a_folder_of_masks(bundle: Path, video: Path, tmp_path: Path) -> None:
    with edgeseg.load(bundle) as segmenter:
        run_loop(segmenter, open_source(str(video)), FolderSink(tmp_path / "masks"), every_frame=True)
    names = sorted(p.name for p in (tmp_path / "masks").iterdir())
    assert len(names) == 60
    assert names[:3] == ["000000.png", "000000_overlay.jpg", "000001.png"]
    mask = cv2.imread(str(tmp_path / "masks" / "000007.png"), cv2.IMREAD_UNCHANGED)
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
    assert not np.array_equal(valid.picture(), old.picture())
