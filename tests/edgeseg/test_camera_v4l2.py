"""The V4L2 reader before a made-up kernel, and its interface held against the real one's header."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeseg.camera.v4l2 as v4l2
from edgeseg.camera import Wanted, is_live, open_source
from edgeseg.camera import v4l2_abi as abi
from edgeseg.camera.v4l2_device import KernelDevice
from edgeseg.errors import CorruptFrameError, SourceError
from fake_v4l2 import FakeCamera

HEIGHT, WIDTH = 48, 64


def picture(number: int = 0) -> np.ndarray:
    """A smooth picture, ``uint8 [H, W, 3]`` RGB, that survives every format."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 4, columns * 3, np.full_like(rows, 40 + number % 150)], axis=-1).astype(np.uint8)


def jpeg(number: int = 0) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(number)[..., ::-1])[1].tobytes())


def yuyv(number: int = 0, gap: int = 0) -> bytes:
    yuv = cv2.cvtColor(picture(number), cv2.COLOR_RGB2YUV_YUYV).reshape(HEIGHT, -1)
    return np.pad(yuv, ((0, 0), (0, gap))).tobytes()


def nv12(number: int = 0, gap: int = 0) -> bytes:
    i420 = cv2.cvtColor(picture(number), cv2.COLOR_RGB2YUV_I420)
    chroma = i420[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    rows = np.concatenate([i420[:HEIGHT], chroma.transpose(1, 2, 0).reshape(HEIGHT // 2, WIDTH)])
    return np.pad(rows, ((0, 0), (0, gap))).tobytes()


def opened(kernel: FakeCamera, **wanted: object) -> v4l2.V4l2Camera:
    wanted.setdefault("size", (HEIGHT, WIDTH))
    return v4l2.V4l2Camera("/dev/video0", kernel, Wanted(**wanted))


@pytest.fixture
def kernel() -> FakeCamera:
    return FakeCamera()


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "READ_TIMEOUT_S", 0.05)


# The interface.


def test_request_codes_and_sizes_are_the_kernels() -> None:
    assert abi.VIDIOC_DQBUF == 0xC0585611
    assert abi.VIDIOC_QUERYCAP == 0x80685600
    assert (ctypes.sizeof(abi.Buffer), ctypes.sizeof(abi.Format)) == (88, 208)
    offsets = [getattr(abi.Buffer, n).offset for n in ("flags", "timestamp", "sequence", "m", "length")]
    assert offsets == [12, 24, 56, 64, 72]


def test_the_header_agrees(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler or not Path("/usr/include/linux/videodev2.h").exists():
        pytest.skip("needs a C compiler and linux/videodev2.h (Debian: gcc, linux-libc-dev)")
    codes = {name: value for name, value in vars(abi).items() if name.startswith("VIDIOC_")}
    codes |= {
        f"V4L2_{n}": v for n, v in vars(abi).items() if n.startswith(("CAP_", "BUF_", "MEMORY_", "FIELD_"))
    }
    structs = {
        "v4l2_capability": abi.Capability,
        "v4l2_pix_format": abi.PixFormat,
        "v4l2_format": abi.Format,
        "v4l2_captureparm": abi.CaptureParm,
        "v4l2_streamparm": abi.StreamParm,
        "v4l2_requestbuffers": abi.RequestBuffers,
        "v4l2_timecode": abi.TimeCode,
        "v4l2_buffer": abi.Buffer,
    }
    checks = [f"_Static_assert({name} == {value:#x}u, #name);".replace("#name", f'"{name}"')
              for name, value in codes.items()]  # fmt: skip
    for name, struct in structs.items():
        checks.append(f'_Static_assert(sizeof(struct {name}) == {ctypes.sizeof(struct)}, "{name}");')
        for field, *_ in struct._fields_:
            offset = getattr(struct, field).offset
            if field != "request_fd":  # it has no name of its own in C
                checks.append(
                    f'_Static_assert(offsetof(struct {name}, {field}) == {offset}, "{name}.{field}");'
                )
    source = tmp_path / "check.c"
    source.write_text("#include <stddef.h>\n#include <linux/videodev2.h>\n" + "\n".join(checks))
    done = subprocess.run([compiler, "-fsyntax-only", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Negotiation.


def test_mjpg_is_preferred_and_what_was_got_is_said(kernel: FakeCamera) -> None:
    camera = opened(kernel, size=(720, 1280), fps=50)
    assert (camera.format, camera.frame_size, camera.fps) == ("MJPG", (720, 1280), 60)
    assert (camera.card, camera.live, camera.frame_count) == ("Made-up camera", True, None)
    assert kernel.streaming


def test_without_wishes_the_camera_keeps_its_size_and_rate() -> None:
    camera = v4l2.V4l2Camera("/dev/video0", FakeCamera(("NV12",)), Wanted())
    assert (camera.format, camera.frame_size, camera.fps) == ("NV12", (480, 640), 30)


def test_a_format_can_be_asked_for() -> None:
    assert opened(FakeCamera(("MJPG", "YUYV")), format="YUYV").format == "YUYV"
    assert opened(FakeCamera(("YUYV",)), format="MJPG").format == "YUYV"
    assert opened(FakeCamera(size=(30, 40))).frame_size == (30, 40)
    with pytest.raises(SourceError, match="one of MJPG, YUYV"):
        opened(FakeCamera(), format="H264")


def test_a_driver_that_knows_no_rate() -> None:
    assert opened(FakeCamera(fps=0), fps=15).fps == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda k: setattr(k, "capabilities", abi.CAP_STREAMING), "captures and streams"),
        (lambda k: setattr(k, "capabilities", abi.CAP_VIDEO_CAPTURE), "captures and streams"),
        (lambda k: setattr(k, "formats", ("H264",)), "H264"),
        (lambda k: setattr(k, "buffer_limit", 1), "2 buffers"),
        (lambda k: k.fail.update({abi.VIDIOC_QUERYCAP: [errno.ENOTTY]}), "streaming"),
        (lambda k: k.fail.update({abi.VIDIOC_REQBUFS: [errno.EINVAL]}), "streaming"),
    ],
)
def test_what_does_not_stream_is_left_to_opencv(
    kernel: FakeCamera, change: Callable[[FakeCamera], None], said: str
) -> None:
    change(kernel)
    with pytest.raises(v4l2.NotStreamingError, match=said):
        opened(kernel)
    assert kernel.closed


@pytest.mark.parametrize("request_code", [abi.VIDIOC_S_FMT, abi.VIDIOC_REQBUFS, abi.VIDIOC_STREAMON])
def test_a_camera_that_another_program_has(kernel: FakeCamera, request_code: int) -> None:
    kernel.fail[request_code] = [errno.EBUSY]
    with pytest.raises(SourceError, match="another program") as caught:
        opened(kernel)
    assert not isinstance(caught.value, v4l2.NotStreamingError)
    assert kernel.closed


# Frames.


@pytest.mark.parametrize(
    ("letters", "gap", "encode"),
    [
        ("MJPG", 0, lambda: jpeg()),
        ("MJPG", 0, lambda: jpeg() + bytes(500)),
        ("YUYV", 0, lambda: yuyv()),
        ("YUYV", 32, lambda: yuyv(gap=32)),
        ("NV12", 0, lambda: nv12()),
        ("NV12", 64, lambda: nv12(gap=64)),
        ("RGB3", 0, lambda: picture().tobytes()),
        ("BGR3", 0, lambda: np.ascontiguousarray(picture()[..., ::-1]).tobytes()),
        ("BGR3", 16, lambda: np.pad(picture()[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, 16))).tobytes()),
    ],
)
def test_every_format_gives_the_picture(letters: str, gap: int, encode: Callable[[], bytes]) -> None:
    kernel = FakeCamera((letters,), stride_gap=gap)
    camera = opened(kernel)
    kernel.due.append(lambda: kernel.capture(encode()))
    frame = camera.read()
    assert frame is not None
    assert np.abs(frame.image.astype(int) - picture()).max() <= (0 if gap == 16 or letters == "RGB3" else 24)
    before = frame.image.copy()
    for _ in range(5):
        kernel.capture(bytes(len(encode())))
    np.testing.assert_array_equal(frame.image, before)  # nothing of it lies in the driver's buffers


def test_the_drivers_stamp_and_number(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    kernel.sequence = 2**32 - 1
    stamp = time.monotonic_ns() // 1000 * 1000 - 20_000_000
    kernel.due.extend([lambda: kernel.capture(jpeg(), stamp_ns=stamp), lambda: kernel.capture(jpeg())])
    first, second = camera.read(), camera.read()
    assert first is not None
    assert second is not None
    assert (first.captured_ns, first.clock, first.sequence, first.index) == (stamp, "driver", 2**32 - 1, 0)
    assert (second.sequence, second.index) == (0, 1)


@pytest.mark.parametrize(
    ("stamps", "offset_ns"),
    [
        (0, 0),
        (0x4000, 0),
        (abi.BUF_FLAG_TIMESTAMP_MONOTONIC, 10**9),
        (abi.BUF_FLAG_TIMESTAMP_MONOTONIC, -(10**11)),
    ],
)
def test_a_stamp_of_another_clock_is_not_believed(stamps: int, offset_ns: int) -> None:
    kernel = FakeCamera(stamps=stamps)
    camera = opened(kernel)
    kernel.due.append(lambda: kernel.capture(jpeg(), stamp_ns=max(0, time.monotonic_ns() + offset_ns)))
    before = time.monotonic_ns()
    frame = camera.read()
    assert frame is not None
    assert frame.clock == "arrival"
    assert before <= frame.captured_ns <= time.monotonic_ns()


def test_after_a_slow_reader_the_newest_is_given_and_the_gap_shows(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    for number in range(7):  # three more than there are buffers: the driver drops them
        kernel.capture(jpeg(number))
    frame = camera.read()
    assert frame is not None
    assert (frame.sequence, frame.index) == (3, 0)
    for number in range(7, 9):
        kernel.capture(jpeg(number))
    frame = camera.read()
    assert frame is not None
    assert (frame.sequence, frame.index) == (8, 1)
    assert abs(int(frame.image[0, 0, 2]) - 48) < 5


def test_buffers_go_round_for_ever(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    for number in range(40):
        kernel.due.append(lambda: kernel.capture(jpeg()))
        assert camera.skip() if number % 3 == 0 else camera.read()
    assert kernel.sequence == 40


def test_a_camera_faster_than_the_reader_does_not_keep_it(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    dequeue = kernel._dqbuf

    def endless(buffer: abi.Buffer) -> None:
        kernel.capture(jpeg())
        dequeue(buffer)

    kernel.ioctl = lambda code, argument: (endless if code == abi.VIDIOC_DQBUF else _through(kernel, code))(
        argument
    )
    kernel.capture(jpeg())
    assert camera.read() is not None


def _through(kernel: FakeCamera, code: int) -> Callable[[object], None]:
    return lambda argument: FakeCamera.ioctl(kernel, code, argument)


# Damaged frames, and a camera that is gone.


@pytest.mark.parametrize(
    ("data", "flags", "said"),
    [
        (jpeg(), abi.BUF_FLAG_ERROR, "driver calls damaged"),
        (jpeg()[:-400], 0, "without its end"),
        (jpeg()[:5], 0, "5 bytes"),
        (b"", 0, "0 bytes"),
        (b"\0" * 800 + jpeg(), 0, "does not begin"),
        (jpeg()[:2] + b"\0" * 600 + jpeg()[-2:], 0, "does not decode"),
    ],
)
def test_damaged_jpegs(kernel: FakeCamera, data: bytes, flags: int, said: str) -> None:
    camera = opened(kernel)
    kernel.due.extend([lambda: kernel.capture(data, flags), lambda: kernel.capture(jpeg())])
    with pytest.raises(CorruptFrameError, match=said):
        camera.read()
    frame = camera.read()
    assert frame is not None
    assert (frame.index, frame.sequence) == (1, 1)


def test_a_thousand_damaged_frames_lose_no_buffer(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    for _ in range(1000):
        kernel.due.append(lambda: kernel.capture(jpeg()[:50]))
        with pytest.raises(CorruptFrameError):
            camera.read()
    kernel.due.append(lambda: kernel.capture(jpeg()))
    assert camera.read() is not None


@pytest.mark.parametrize(
    ("letters", "data"), [("YUYV", yuyv()[:-100]), ("NV12", nv12()[:-1]), ("RGB3", b"abc")]
)
def test_short_raw_frames(letters: str, data: bytes) -> None:
    kernel = FakeCamera((letters,))
    camera = opened(kernel)
    kernel.due.append(lambda: kernel.capture(data))
    with pytest.raises(CorruptFrameError, match="bytes instead of"):
        camera.read()


@pytest.mark.parametrize("code", [errno.ENODEV, errno.EIO])
@pytest.mark.parametrize("request_code", [abi.VIDIOC_DQBUF, abi.VIDIOC_QBUF])
def test_unplugged(kernel: FakeCamera, code: int, request_code: int) -> None:
    camera = opened(kernel)
    kernel.due.extend([lambda: kernel.capture(jpeg())] * 2)
    camera.read()
    kernel.fail[request_code] = [code]
    with pytest.raises(SourceError, match=r"unplugged after [12] frames") as caught:
        camera.read()
    assert not isinstance(caught.value, CorruptFrameError)
    kernel.fail[abi.VIDIOC_STREAMOFF] = [errno.ENODEV]
    camera.close()
    camera.close()
    assert kernel.closed


@pytest.mark.usefixtures("_impatient")
def test_a_camera_that_gives_nothing(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    with pytest.raises(SourceError, match=r"none within 0\.05 s"):
        camera.read()


@pytest.mark.usefixtures("_impatient")
def test_an_error_without_a_buffer_is_waited_out(kernel: FakeCamera) -> None:
    camera = opened(kernel)
    kernel.fail[abi.VIDIOC_DQBUF] = [errno.EAGAIN] * 3
    kernel.due.append(lambda: kernel.capture(jpeg()))
    assert camera.read() is not None


# The system calls themselves, on files that are no cameras.


def test_a_file_that_is_no_camera_falls_through_to_opencv() -> None:
    with pytest.raises(SourceError, match="opens"):
        open_source("v4l2:///dev/null")


@pytest.mark.parametrize("text", ["77", "/dev/video77", "v4l2:///dev/video77"])
def test_a_camera_that_is_not_there(text: str) -> None:
    assert is_live(text)
    with pytest.raises(SourceError, match="/dev/video77"):
        open_source(text)


def test_memory_is_mapped_and_given_back() -> None:
    device = KernelDevice("/dev/zero")
    mapped = device.mmap(4096, 0)
    mapped[3] = 7
    assert mapped[:4].tolist() == [0, 0, 0, 7]
    assert device.poll(0.1)
    device.close()  # with an array that still shows the memory
    device.close()


def test_a_signal_does_not_end_the_wait(tmp_path: Path, project_root: Path) -> None:
    os.mkfifo(tmp_path / "camera")
    # In a process of its own: what others in this one have done about signals is no part of it.
    run = subprocess.run(
        [sys.executable, "-c", _RUNG, tmp_path / "camera"],
        env={**os.environ, "PYTHONPATH": str(project_root)},
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stderr) == (0, "")
    came, waited, rung = json.loads(run.stdout)
    assert not came
    assert waited >= 0.19
    assert rung > 3


_RUNG = """
import json, signal, sys, time
from edgeseg.camera.v4l2_device import KernelDevice

rung = []
signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
device = KernelDevice(sys.argv[1])
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
started = time.monotonic()
came = device.poll(0.2)
waited = time.monotonic() - started
signal.setitimer(signal.ITIMER_REAL, 0)
print(json.dumps([came, waited, len(rung)]))
"""


def test_an_interrupted_ioctl_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([InterruptedError(), InterruptedError(), None])

    def ioctl(*_: object) -> None:
        if error := next(calls):
            raise error

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    KernelDevice("/dev/null").ioctl(abi.VIDIOC_QUERYCAP, abi.Capability())
    assert next(calls, "none left") == "none left"
