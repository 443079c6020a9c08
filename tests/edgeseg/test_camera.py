"""Every kind of source, and every way in which one can fail to open."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.camera import ImageFolder, LiveCamera, VideoFile, is_live, open_source, read_image
from edgeseg.errors import CorruptFrameError, SourceError


def write_image(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (24, 32)) -> Path:
    cv2.imwrite(str(path), np.full((*size, 3), color[::-1], np.uint8))
    return path


# Video files.


def test_a_video_is_read_whole_and_in_order(video: Path) -> None:
    source = open_source(str(video))
    assert isinstance(source, VideoFile)
    assert (source.fps, source.frame_size, source.frame_count, source.live) == (25.0, (64, 128), 30, False)
    frames = list(iter(source.read, None))
    assert [f.index for f in frames] == list(range(30))
    centers = [np.flatnonzero(f.image[32, :, 0] > 180).mean() for f in frames]
    assert centers == sorted(centers)
    assert centers[-1] > centers[0] + 60
    assert source.read() is None
    source.close()
    source.close()


def test_frames_are_rgb_with_times(video: Path) -> None:
    before = time.monotonic_ns()
    frame = open_source(str(video)).read()
    assert frame is not None
    assert frame.image.dtype == np.uint8
    assert frame.image[32, 8, 0] > 200 > frame.image[32, 8, 2]
    assert before < frame.captured_ns < time.monotonic_ns()
    assert 0 < frame.decode_ms < 1000


def test_skipping_counts(video: Path) -> None:
    source = open_source(str(video))
    assert source.skip()
    frame = source.read()
    assert frame is not None
    assert frame.index == 1
    for _ in range(28):
        assert source.skip()
    assert not source.skip()


def test_a_video_that_ends_early_is_damaged(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(str(video))
    source.frame_count = 60
    with pytest.raises(SourceError, match="after 30"):
        list(iter(source.read, None))


def test_a_truncated_video(video: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"broken\.mp4"):
        open_source(str(broken))


# Images and folders.


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for index, name in enumerate(("b.png", "a.png", "c.JPG")):
        write_image(tmp_path / name, (index * 100, 0, 0))
    (tmp_path / "notes.txt").write_text("no image")
    source = open_source(str(tmp_path))
    assert isinstance(source, ImageFolder)
    assert (source.frame_count, source.frame_size, source.live) == (3, (24, 32), False)
    reds = [f.image[0, 0, 0] for f in iter(source.read, None)]
    np.testing.assert_allclose(reds, [100, 0, 200], atol=3)


def test_one_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    source = open_source(str(write_image(tmp_path / "view.png", (10, 20, 30))))
    frame = source.read()
    assert frame is not None
    np.testing.assert_array_equal(frame.image[5, 5], [10, 20, 30])
    assert source.read() is None


def test_a_folder_can_be_skipped_through(tmp_path: Path) -> None:
    for index in range(3):
        write_image(tmp_path / f"{index}.png", (index, 0, 0))
    source = open_source(str(tmp_path))
    assert source.skip()
    frame = source.read()
    assert frame is not None
    assert (frame.index, frame.image[0, 0, 0]) == (1, 1)
    assert source.skip()
    assert not source.skip()


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n broken"])
def test_unreadable_images_are_named(tmp_path: Path, content: bytes) -> None:
    write_image(tmp_path / "a.png", (1, 2, 3))
    (tmp_path / "b.png").write_bytes(content)
    source = open_source(str(tmp_path))
    source.read()
    write_image(tmp_path / "c.png", (9, 9, 9))
    with pytest.raises(CorruptFrameError, match=r"b\.png"):
        source.read()
    frame = source.read()
    assert frame is None, "the folder was listed when it was opened"


def test_names_with_other_letters(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", (1, 2, 3)).rename(tmp_path / "Straße 木.png")
    np.testing.assert_array_equal(read_image(path)[0, 0], [1, 2, 3])


def test_files_by_address(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a view.png", (10, 20, 30))
    for address in (f"file://{path}", f"FILE://localhost{path}", path.as_uri()):
        source = open_source(address)
        assert isinstance(source, ImageFolder)
        assert source.read() is not None
        assert not is_live(address)


# What does not open.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing.mp4", "nothing there"),
        ("missing.png", "nothing there"),
        ("77", "/dev/video77"),
        ("/dev/video99", "/dev/video99"),
        ("ftp://example/x", "rtsp://"),
    ],
)
def test_sources_that_are_not_there(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        open_source(text)
    assert caught.value.exit_code == 7


def test_a_file_that_is_no_video(tmp_path: Path) -> None:
    for name, content in (("text.mp4", b"just text " * 100), ("empty.avi", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name):
            open_source(str(tmp_path / name))


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="none directly in it"):
        open_source(str(tmp_path))


def test_passwords_are_not_repeated() -> None:
    with pytest.raises(SourceError) as caught:
        open_source("rtsp://user:secret@127.0.0.1:9/stream")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:9/stream" in str(caught.value)


# A stream: a camera that sends JPEGs over HTTP, on this machine.


@pytest.fixture
def camera_address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Mjpeg)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://user:secret@127.0.0.1:{server.server_port}/camera"
    server.shutdown()
    server.server_close()


class _Mjpeg(BaseHTTPRequestHandler):
    """Sends 40 pictures, 20 a second, and ends."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for index in range(40):
            picture = np.full((48, 64, 3), (0, 0, 5 * index), np.uint8)
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + data + b"\r\n")
            except OSError:
                return
            time.sleep(0.05)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


def test_a_stream_gives_frames_and_then_fails(camera_address: str) -> None:
    source = open_source(camera_address)
    assert isinstance(source, LiveCamera)
    assert source.live
    assert "secret" not in source.name
    assert source.frame_count is None
    frames = [source.read() for _ in range(20)]
    assert [f.index for f in frames if f] == list(range(20))
    assert all(f.image.shape == (48, 64, 3) for f in frames if f)
    with pytest.raises(SourceError, match="Check the camera"):
        for _ in range(40):
            source.read()
    source.close()
