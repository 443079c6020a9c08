"""What drawing, smoothing and each sink cost for one mask: ``python -m edgeseg.benchmarks.sink_costs``.

All contenders take turns, so that a busy moment of the machine hits each of them. ``cpu`` is the time of the
calling thread alone, which a busy machine lengthens less.
"""

from __future__ import annotations

import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from edgeseg.benchmarks.host import describe_host
from edgeseg.labels import LabelClass, LabelSet, Mask
from edgeseg.loop.sinks import Published, Recorder, Stamp, open_sink
from edgeseg.loop.smoothing import Smoother, flicker
from edgeseg.overlay import draw_overlay
from edgeseg.resize import Image, resize_mask
from edgeseg.segmenter import Segmentation, Timings
from edgeseg.tables import markdown_table

FRAME_SIZE, MODEL_SIZE = (720, 1280), (256, 256)
LABELS = LabelSet("scene", tuple(LabelClass(i, f"class {i}", (40 * i, 200 - 30 * i, 90)) for i in range(6)))
_ROUNDS = 60
_SMOOTH_FRAMES = 3
_NOISE = 0.03

Step = Callable[[], object]


def draw_plainly(frame: Image, mask: Mask, labels: LabelSet, alpha: float = 0.5) -> Image:
    """The overlay as it was drawn before, by steps over whole arrays; without a legend."""
    colors = np.asarray(cv2.applyColorMap(mask, labels.palette().reshape(256, 1, 3)), np.uint8)
    picture = np.asarray(cv2.addWeighted(frame, 1 - alpha, colors, alpha, 0), np.uint8)
    edges = np.zeros_like(mask)
    edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edges[1:] |= mask[1:] != mask[:-1]
    lighter = cv2.addWeighted(picture, 0.45, np.full_like(picture, 255), 0.55, 0)
    cv2.copyTo(lighter, edges, picture)
    cv2.copyTo(frame, np.asarray(mask >= len(labels), np.uint8), picture)
    return picture


def draw_mask(step: int = 0) -> Mask:
    """A road scene's class map at the model's size; its vehicle has moved by ``step`` pixels."""
    mask = np.zeros(MODEL_SIZE, np.uint8)
    mask[:90] = 1
    for x in range(0, 256, 24):
        cv2.circle(mask, (x, 90), 14, 2, cv2.FILLED)
        cv2.rectangle(mask, (x + 8, 60), (x + 10, 110), 3, cv2.FILLED)
    cv2.fillPoly(mask, [np.array([[0, 256], [256, 256], [150, 90], [110, 90]])], 4)
    cv2.rectangle(mask, (90 + step, 130), (150 + step, 180), 5, cv2.FILLED)
    return mask


def measure(steps: dict[str, Step], rounds: int = _ROUNDS) -> list[tuple[str, str, str, str]]:
    """Name, and milliseconds: median, fastest and the calling thread's CPU, of steps that take turns."""
    wall: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(rounds + 2):
        for name, step in steps.items():
            started, used = time.perf_counter(), time.thread_time()
            step()
            if turn >= 2:
                cpu[name].append((time.thread_time() - used) * 1000)
                wall[name].append((time.perf_counter() - started) * 1000)
    return [
        (name, f"{np.median(wall[name]):.2f}", f"{min(wall[name]):.2f}", f"{np.median(cpu[name]):.2f}")
        for name in steps
    ]


def measure_flicker(frames: int = 120) -> tuple[float, float]:
    """The flicker outside real motion of noisy masks and of the same smoothed."""
    random, smoother = np.random.default_rng(0), Smoother(len(LABELS), _SMOOTH_FRAMES)
    before: tuple[Mask, Mask] | None = None
    found: list[tuple[float, float]] = []
    for i in range(frames):
        truth = draw_mask(i // 3)
        noisy = _with_noise(truth, random)
        smooth = noisy.copy()
        smoother.apply(smooth)
        # What moved in the last masks is still on its way through the smoother, and is no flicker.
        still = truth == draw_mask(max(0, i - _SMOOTH_FRAMES - 1) // 3)
        if before is not None and i > _SMOOTH_FRAMES:
            found.append((flicker(before[0], noisy, still), flicker(before[1], smooth, still)))
        before = noisy, smooth
    plain, smoothed = np.mean(found, axis=0)
    return float(plain), float(smoothed)


def main() -> None:
    """Measure everything and write it to standard output as Markdown."""
    host = describe_host()
    header = ("step", "median ms", "fastest ms", "CPU ms")
    drawn = measure(_drawing())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        written = measure(_sinks(Path(folder), opened))
    plain, smoothed = measure_flicker()
    sys.stdout.write(
        "# What a mask costs after inference\n\n`python -m edgeseg.benchmarks.sink_costs`\n\n"
        f"{host.describe()} "
        f"Frames of 1280×720, masks of 256×256, {_ROUNDS} rounds that take turns.\n\n"
        f"{markdown_table(header, drawn)}\n\n{markdown_table(header, written)}\n\n"
        f"Flicker outside real motion, with {_NOISE:.0%} of the pixels at random: {100 * plain:.2f} % of the "
        f"pixels a frame; with `--smooth {_SMOOTH_FRAMES}`, {_SMOOTH_FRAMES - 1} frames late, "
        f"{100 * smoothed:.3f} %.\n"
    )


def _drawing() -> dict[str, Step]:
    frame = np.random.default_rng(1).integers(0, 256, (*FRAME_SIZE, 3)).astype(np.uint8)
    small = draw_mask()
    mask = resize_mask(small, *FRAME_SIZE)
    smoother, noisy = Smoother(len(LABELS), _SMOOTH_FRAMES), _with_noise(small, np.random.default_rng(2))
    turn = [small.copy(), noisy.copy()]

    def smooth() -> None:
        turn.reverse()
        smoother.apply(turn[0])

    return {
        "overlay, by whole arrays": lambda: draw_plainly(frame, mask, LABELS),
        "overlay": lambda: draw_overlay(frame, mask, LABELS, legend=False),
        "overlay with its legend": lambda: draw_overlay(frame, mask, LABELS),
        "mask to the frame's size": lambda: resize_mask(small, *FRAME_SIZE),
        f"smoothing over {_SMOOTH_FRAMES}": smooth,
    }


def _sinks(folder: Path, opened: ExitStack) -> dict[str, Step]:
    published = _published()
    places = {
        "live page, nobody looks": "http://127.0.0.1:0",
        "shared memory": f"shm://edgeseg-benchmark-{uuid.uuid4().hex[:8]}",
        "shared memory, the model's size": f"shm://edgeseg-benchmark-{uuid.uuid4().hex[:8]}?mask=model",
        "lines of JSON": str(folder / "masks.jsonl"),
    }
    if find_spec("zmq"):
        places["ZeroMQ, nobody subscribes"] = "zmq://127.0.0.1:0"
    sinks = {name: open_sink(text, 30) for name, text in places.items()}
    sinks["recorder, no event"] = Recorder(folder / "record")
    for sink in sinks.values():
        opened.callback(sink.close)
    return {name: _writer(sink.write, published) for name, sink in sinks.items()}


def _writer(write: Callable[[Published], None], published: Published) -> Step:
    return lambda: write(published)


def _published() -> Published:
    small = draw_mask()
    gradient = np.linspace(0, 255, FRAME_SIZE[1]).astype(np.uint8)
    frame = np.ascontiguousarray(np.broadcast_to(gradient[None, :, None], (*FRAME_SIZE, 3)))
    now = time.monotonic_ns()
    segmentation = Segmentation(
        frame, resize_mask(small, *FRAME_SIZE), small, None, LABELS, Timings(1, 20, 1, 22), now, now
    )
    return Published(segmentation, 0, 30.0, "", Stamp(1))


def _with_noise(mask: Mask, random: np.random.Generator) -> Mask:
    wrong = random.integers(0, len(LABELS), mask.shape)
    return np.where(random.random(mask.shape) < _NOISE, wrong, mask).astype(np.uint8)


if __name__ == "__main__":
    main()
