"""``edgeseg run``, ``predict`` and ``info`` as a user calls them: in a process of their own."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest

from edgeseg.cli import run_options
from edgeseg.loop import Budgets, read_health
from loop_parts import write_pictures

ReadVideo = Callable[[Path], tuple[list[np.ndarray], float]]


def edgeseg(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgeseg", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False)


# run


def test_every_frame_to_a_video(bundle: Path, video: Path, tmp_path: Path, read_video: ReadVideo) -> None:
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    done = edgeseg(
        "run", bundle, "--source", video, "--sink", out, "--every-frame", "--json", "--report", report
    )
    assert done.returncode == 0, done.stderr
    frames, fps = read_video(out)
    assert (len(frames), fps, frames[0].shape) == (30, 25.0, (64, 128, 3))
    values = json.loads(done.stdout)
    assert values == json.loads(report.read_text())
    assert (values["frames"]["inferred"], values["mode"]) == (30, "every-frame")
    assert [sink["written"] for sink in values["sinks"]] == [30]
    assert str(out) in done.stderr


def test_real_time_without_a_sink_prints_a_table(bundle: Path, video: Path) -> None:
    done = edgeseg("run", bundle, "--source", video, "--threads", 1)
    assert done.returncode == 0, done.stderr
    for word in ("p99.9", "infer", "age", "overwritten", "end of stream", "unsigned", "video file"):
        assert word in done.stdout
    assert "STARTING → OK" in done.stderr
    assert "OK → STOPPING: the source has ended" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(
    bundle: Path, make_video: Any, tmp_path: Path, read_video: ReadVideo, number: signal.Signals
) -> None:
    out = tmp_path / "out.mp4"
    video = make_video(frames=1000)
    command = [sys.executable, "-m", "edgeseg", "run", bundle, "--source", video, "--sink", out, "--json"]
    with _started(command) as process:
        _wait_for(lambda: any(p.stat().st_size for p in tmp_path.glob(".out.*.part.mp4")))
        time.sleep(0.5)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    values = json.loads(stdout)
    assert values["ended"] == "stopped"
    frames, fps = read_video(out)
    assert fps == 25.0
    assert 5 <= len(frames) <= 500
    assert len(frames) >= values["sinks"][0]["written"]
    assert not list(tmp_path.glob(".out.*"))


def test_a_camera_with_several_sinks_and_its_health(bundle: Path, tmp_path: Path) -> None:
    source = "synthetic://64x48@30?seed=3"
    sinks = ("--sink", tmp_path / "out.mp4", "--sink", tmp_path / "log.jsonl", "--sink", "none")
    given = (bundle, "--source", source, *sinks, "--health", tmp_path / "health.json", "--health-port", 0)
    command = [sys.executable, "-m", "edgeseg", "run", *map(str, given), "--smooth", "2", "--json"]
    with _started(command) as process:
        _wait_for(lambda: _state(tmp_path / "health.json") == "OK")
        health, fresh = read_health(tmp_path / "health.json")
        assert fresh
        assert (health["epoch"], health["runtime"]) == (1, "onnx")
        assert set(health["processes"]) == {"capture", "inference", "sinks"}
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    values = json.loads(stdout)
    assert (values["mode"], values["ended"], values["epochs"]) == ("live", "stopped", 1)
    assert [sink["name"] for sink in values["sinks"]] == [str(tmp_path / n) for n in ("out.mp4", "log.jsonl")]
    assert read_health(tmp_path / "health.json")[0]["state"] == "STOPPING"


@contextmanager
def _started(command: list[Any]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive the test, however that ends."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _state(path: Path) -> str:
    return str(read_health(path)[0]["state"]) if path.exists() else ""


def _wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--source", "missing.mp4"], 7, "missing.mp4"),
        (["--source", "0x", "--sink", "none"], 7, "0x"),
        (["--source", "VIDEO", "--sink", "out.avi"], 7, "out.avi"),
        (["--source", "VIDEO", "--sink", "window"], 7, "window"),
        (["--source", "VIDEO", "--runtime", "coreml"], 2, "coreml"),
        (["--source", "VIDEO", "--precision", "int4"], 2, "int4"),
        (["--source", "VIDEO", "--threads", "0"], 2, "threads"),
        (["--source", "VIDEO", "--deadline", "-1"], 2, "deadline"),
        (["--source", "VIDEO", "--smooth", "-1"], 2, "smooth"),
        (["--source", "0", "--camera-size", "large"], 2, "WIDTHxHEIGHT"),
        (["--source", "synthetic://64x32", "--every-frame"], 2, "--every-frame"),
        (["--source", "VIDEO", "--sink", "a.mp4", "--sink", "a.mp4"], 7, "a.mp4"),
        (["--source", "VIDEO", "--report", "."], 2, "a place that can be written"),
        ([], 2, "--source"),
    ],
)
def test_one_message_and_the_exit_code(
    bundle: Path, video: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    given = [str(video) if a == "VIDEO" else a for a in arguments]
    done = edgeseg("run", bundle, *given, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drive.mp4", "toy.edgeseg"]


def test_a_damaged_bundle_does_not_run(bundle: Path, video: Path) -> None:
    with (bundle / "model.onnx").open("r+b") as file:
        file.seek(40)
        byte = file.read(1)
        file.seek(40)
        file.write(bytes([byte[0] ^ 1]))
    done = edgeseg("run", bundle, "--source", video)
    assert done.returncode == 8
    assert "model.onnx" in done.stderr


def test_a_damaged_picture_is_counted_and_the_rest_segmented(
    bundle: Path, tmp_path: Path, read_video: ReadVideo
) -> None:
    images = write_pictures(tmp_path / "images", 6)
    (images / "3.png").write_bytes(b"broken")
    out = tmp_path / "out.mp4"
    done = edgeseg("run", bundle, "--source", images, "--sink", out, "--every-frame", "--json")
    assert done.returncode == 0, done.stderr
    assert "a damaged frame (6 bytes that do not decode)" in done.stderr
    frames = json.loads(done.stdout)["frames"]
    assert (frames["captured"], frames["inferred"], frames["corrupt"]) == (6, 5, 1)
    assert len(read_video(out)[0]) == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file system that is always full")
def test_a_sink_that_fails_gives_a_report_and_an_exit_code(bundle: Path, video: Path, tmp_path: Path) -> None:
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    sinks = ("--sink", tmp_path / "full.jsonl", "--sink", tmp_path / "out.mp4")
    done = edgeseg("run", bundle, "--source", video, *sinks, "--json")
    assert done.returncode == 7
    assert "free space" in done.stderr
    values = json.loads(done.stdout)
    assert values["ended"] == "failed"
    full, whole = values["sinks"]
    assert "free space" in full["error"]
    assert (full["written"], whole["error"]) == (0, None)
    assert Path(whole["output"]) == tmp_path / "out.mp4"
    assert (tmp_path / "out.mp4").exists(), "the other one is finished"


def test_the_report_is_printed_where_its_file_cannot_be_written(bundle: Path, video: Path) -> None:
    done = edgeseg("run", bundle, "--source", video, "--every-frame", "--json", "--report", video.parent)
    assert done.returncode == 2
    assert json.loads(done.stdout)["frames"]["inferred"] == 30
    assert f"{video.parent}: expected a place that can be written" in done.stderr


def test_what_is_still_to_be_built_is_told(make_bundle: Any, video: Path, tmp_path: Path) -> None:
    runtime = {"names": ("tensorrt", "onnx"), "verified_with": {}}
    build = {"state": "engine-not-built", "note": "Build the engine on the device."}
    bundle = make_bundle("jetson", runtime=runtime, build=build)
    ran = edgeseg("run", bundle, "--source", video, "--every-frame", "--json")
    assert json.loads(ran.stdout)["build_note"].endswith("Build the engine on the device.")
    predicted = edgeseg("predict", bundle, video, "--out", tmp_path / "out")
    for done in (ran, predicted):
        assert done.returncode == 0, done.stderr
        assert "Build the engine on the device." in done.stderr


def test_an_interrupt_is_told() -> None:
    code = (
        "import os, signal, sys; from edgeseg.cli import app; "
        "app.app.command('wait')(lambda: os.kill(os.getpid(), signal.SIGINT)); "
        "sys.argv = ['edgeseg', 'wait', *sys.argv[1:]]; app.main()"
    )
    for debug in ((), ("--debug",)):
        done = subprocess.run(
            [sys.executable, "-c", code, *debug], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 130
        assert done.stderr.endswith("edgeseg: error: interrupted\n")
        assert ("KeyboardInterrupt" in done.stderr) == bool(debug)


# predict


def test_images_become_masks_and_overlays(bundle: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for index, name in enumerate(("a.png", "b.png")):
        picture = np.zeros((48, 96, 3), np.uint8)
        picture[..., 2 - index] = 200  # BGR: red, then green
        cv2.imwrite(str(images / name), picture)
    done = edgeseg("predict", bundle, images, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["a.png", "a_overlay.jpg", "b.png", "b_overlay.jpg"]
    for name, class_id in (("a", 0), ("b", 1)):
        mask = cv2.imread(str(tmp_path / "out" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (48, 96)
        assert (mask == class_id).all()
    written = json.loads(done.stdout)
    assert [w["shares"] for w in written] == [{"red": 1.0}, {"green": 1.0}]


def test_one_image_and_the_default_folder(bundle: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "view.jpg"), np.zeros((48, 96, 3), np.uint8))
    done = edgeseg("predict", bundle, "view.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in (tmp_path / "runs" / "predict" / "view").iterdir())
    assert names == ["view.png", "view_overlay.jpg"]


def test_a_video_becomes_numbered_masks(bundle: Path, make_video: Any, tmp_path: Path) -> None:
    done = edgeseg("predict", bundle, make_video(frames=5), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 10
    assert (tmp_path / "out" / "000004.png").is_file()


def test_predictions_never_overwrite_images_or_one_another(bundle: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    cv2.imwrite(str(images / "a.png"), np.zeros((48, 96, 3), np.uint8))
    before = (images / "a.png").read_bytes()
    for source in (images, images / "a.png"):
        done = edgeseg("predict", bundle, source, "--out", images)
        assert done.returncode == 2
        assert "--out" in done.stderr
    assert (images / "a.png").read_bytes() == before
    cv2.imwrite(str(images / "a.jpg"), np.zeros((48, 96, 3), np.uint8))
    done = edgeseg("predict", bundle, images, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "named a" in done.stderr


def test_an_unreadable_image_is_named(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    done = edgeseg("predict", bundle, tmp_path / "bad.png", "--out", tmp_path / "out")
    assert done.returncode == 7
    assert "bad.png" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["taken", "taken/deep", "/proc/none"])
def test_results_that_cannot_be_written(bundle: Path, video: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").write_text("a file")
    done = edgeseg("predict", bundle, video, "--out", place, cwd=tmp_path)
    assert done.returncode == 2
    assert "a place that can be written" in done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [("0", "0"), ("/dev/video7", "/dev/video7"), ("rtsp://me:se@cret@cam/1", "rtsp://…@cam/1")],
)
def test_live_sources_are_for_run(bundle: Path, source: str, said: str) -> None:
    done = edgeseg("predict", bundle, source)
    assert done.returncode == 2
    assert f"error: {said}: expected" in done.stderr
    assert "edgeseg run" in done.stderr


def test_an_address_is_not_taken_for_a_path(bundle: Path) -> None:
    done = edgeseg("predict", bundle, "ftp://host/drive.mp4")
    assert done.returncode == 7
    assert "ftp://" in done.stderr


# info


def test_info_lists_what_there_is() -> None:
    done = edgeseg("info", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert "unet_mini" in values["models"]
    assert "cross_entropy" in values["losses"]
    assert "camvid" in values["datasets"]
    assert set(values["targets"]) >= {"arm", "x86", "jetson"}
    assert set(values["runtimes"]) == {"litert", "onnx", "openvino", "tensorrt"}
    assert values["runtimes"]["openvino"]["version"]
    assert any("openvino" in target for target in values["machine"]["bundles_it_can_run"])
    assert values["machine"]["cores"] >= 1


def test_info_for_people_names_the_extras() -> None:
    done = edgeseg("info")
    assert done.returncode == 0, done.stderr
    assert "litert" in done.stdout
    assert "unet_mini" in done.stdout


def test_the_help_tells_the_budgets_that_hold() -> None:
    budgets = Budgets()
    for name in ("deadline", "stall", "hang", "frozen"):
        [option] = get_args(getattr(run_options, f"{name.capitalize()}Option"))[1:]
        [told] = re.findall(r"\[default: (\d+)", option.help)
        assert float(told) == getattr(budgets, f"{name}_ms")
