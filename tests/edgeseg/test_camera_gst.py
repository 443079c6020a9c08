"""GStreamer pipelines as sources, with its test picture; skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.camera import Wanted, gst, is_live, open_source, without_password
from edgeseg.errors import MissingExtraError, SourceError

SYSTEM_PACKAGES = Path("/usr/lib/python3/dist-packages")
RED = "videotestsrc is-live=true pattern=red ! video/x-raw,width=50,height=20,framerate=50/1"


@pytest.fixture(scope="session")
def _gstreamer(tmp_path_factory: pytest.TempPathFactory) -> None:
    """GStreamer for this process; a closed environment gets nothing but PyGObject from the system."""
    if importlib.util.find_spec("gi") is None and (SYSTEM_PACKAGES / "gi").is_dir():
        folder = tmp_path_factory.mktemp("system")
        (folder / "gi").symlink_to(SYSTEM_PACKAGES / "gi")
        sys.path.append(str(folder))
    try:
        gst._import_gst()
    except MissingExtraError as error:
        pytest.skip(str(error))


needs_gstreamer = pytest.mark.usefixtures("_gstreamer")


# Without GStreamer.


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    for address in ("gst://videotestsrc", "csi://0"):
        assert is_live(address)
        with pytest.raises(MissingExtraError, match=r"python3-gi .*--system-site-packages"):
            open_source(address)


def test_the_pipeline_of_a_csi_camera() -> None:
    pipeline = gst.csi_pipeline(1, Wanted(size=(1080, 1920), fps=60))
    assert pipeline.startswith(
        "nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=1920,height=1080,"
    )
    assert "framerate=60000/1000" in pipeline
    assert pipeline.endswith("format=RGB ! appsink name=edgeseg drop=true max-buffers=1 sync=false")
    with pytest.raises(SourceError, match="csi://0"):
        open_source("csi://left")


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("gst://rtspsrc location=rtsp://me:secret@camera/1 ! decodebin", "secret"),
        ("gst://rtspsrc location=rtsp://camera/1 user-id=me user-pw=secret ! decodebin", "secret"),
        ('gst://rtspsrc location=rtsp://camera/1 user-pw="secret word" ! decodebin', "secret"),
        ("http://camera/video?user=me&pwd=secret&size=2", "secret"),
    ],
)
def test_passwords_in_pipelines_and_queries_are_not_shown(text: str, hidden: str) -> None:
    shown = without_password(text)
    assert hidden not in shown
    assert "word" not in shown
    assert "camera" in shown


def test_other_texts_are_shown_as_they_are() -> None:
    for text in ("synthetic://640x480@30?seed=1", "/data/drive@noon.mp4", "gst://videotestsrc pattern=red"):
        assert without_password(text) == text


# With GStreamer.


@needs_gstreamer
def test_frames_of_a_pipeline() -> None:
    source = open_source(f"gst://{RED}")
    assert (source.frame_size, source.fps, source.live, source.frame_count) == ((20, 50), 50, True, None)
    frames = [frame for frame in (source.read() for _ in range(5)) if frame]
    source.close()
    assert [f.index for f in frames] == list(range(5))
    for frame in frames:
        # 50 pixels are 150 bytes, and GStreamer's rows begin at multiples of 4.
        assert frame.image.shape == (20, 50, 3)
        assert (frame.image[..., 0] > 240).all()
        assert (frame.image[..., 1:] < 15).all()
        assert frame.image.flags.owndata


@needs_gstreamer
def test_a_live_pipelines_stamps_are_on_our_clock() -> None:
    source = open_source(f"gst://{RED}")
    source.read()
    time.sleep(0.1)
    source.read()
    frames = [frame for frame in (source.read() for _ in range(4)) if frame]
    source.close()
    assert {f.clock for f in frames} == {"driver"}
    steps = np.diff([f.captured_ns for f in frames]) / 1e6
    assert np.allclose(steps % 20, 0, atol=0.1) or np.allclose(steps % 20, 20, atol=0.1)
    assert 0 <= time.monotonic_ns() - frames[-1].captured_ns < 2e9


@needs_gstreamer
def test_the_size_and_rate_wanted() -> None:
    source = open_source(f"gst://{RED}", Wanted(size=(40, 60), fps=10))
    assert (source.frame_size, source.fps) == ((40, 60), 10)
    assert source.skip()
    source.close()


@needs_gstreamer
def test_a_pipelines_own_appsink_is_used() -> None:
    source = open_source(
        f"gst://{RED} ! videoconvert ! video/x-raw,format=RGB ! appsink max-buffers=1 drop=true"
    )
    assert source.read() is not None
    source.close()
    with pytest.raises(SourceError, match="format=BGR"):
        open_source(f"gst://{RED} ! videoconvert ! video/x-raw,format=BGR ! appsink")


@needs_gstreamer
def test_the_end_of_a_pipeline() -> None:
    source = open_source("gst://videotestsrc num-buffers=3 ! video/x-raw,width=32,height=32")
    with pytest.raises(SourceError, match="the stream's end after"):
        for _ in range(5):
            source.read()
    source.close()
    source.close()


@needs_gstreamer
@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("nosuchelement", "nosuchelement"),
        ("videotestsrc !", "pipeline"),
        ("v4l2src device=/dev/video77", "/dev/video77"),
        ("videotestsrc ! appsink videotestsrc ! appsink", "one appsink"),
        ("filesrc location=/nothing/there ! decodebin", "/nothing/there"),
    ],
)
def test_pipelines_that_do_not_run(pipeline: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        open_source(f"gst://{pipeline}")


@needs_gstreamer
def test_an_error_in_the_middle() -> None:
    source = open_source(f"gst://{RED} ! identity error-after=4")
    with pytest.raises(SourceError, match="identity"):
        for _ in range(20):
            source.read()
    source.close()


@needs_gstreamer
def test_a_pipeline_that_stalls() -> None:
    source = gst.GstSource(gst._with_sink(f"{RED} ! valve name=valve", Wanted()), "gst://…", timeout_s=0.3)
    source.read()
    source._pipeline.get_by_name("valve").set_property("drop", True)
    with pytest.raises(SourceError, match=r"none within 0\.3 s"):
        for _ in range(5):
            source.read()
    source.close()
