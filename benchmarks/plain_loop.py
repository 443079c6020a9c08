"""The loop that most projects start with: what edgeseg's own is measured against.

One thread reads a frame, resizes it, lets the model infer, brings the classes back to the frame's size and
draws them. It keeps no state, copies nothing it need not copy, and when anything in it stops, all of it does.
The argmax is inside the bundle's graph, so there is none here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.loop_camera import PacedVideo

COLUMNS = ("resize", "infer", "post", "overlay")
Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


def run_plain_loop(
    video: Path, predict: Predict, height: int, width: int, palette: npt.NDArray[np.uint8], frames: int
) -> npt.NDArray[np.float64]:
    """So many frames; milliseconds ``float64 [frames, 4]`` in the order of ``COLUMNS``.

    Args:
        predict: From a frame of the model's size, ``uint8 [height, width, 3]`` RGB, to its class map.
        palette: A colour for each id, ``uint8 [256, 3]``.
    """
    camera = PacedVideo(video)
    rows = []
    for _ in range(frames):
        _, bgr = camera.read()
        times = [time.monotonic_ns()]
        small = cv2.cvtColor(cv2.resize(bgr, (width, height)), cv2.COLOR_BGR2RGB)
        times.append(time.monotonic_ns())
        ids = predict(np.asarray(small, np.uint8))
        times.append(time.monotonic_ns())
        mask = cv2.resize(ids, (bgr.shape[1], bgr.shape[0]), interpolation=cv2.INTER_NEAREST)
        times.append(time.monotonic_ns())
        cv2.addWeighted(bgr, 0.5, palette[mask], 0.5, 0)
        times.append(time.monotonic_ns())
        rows.append(np.diff(times) / 1e6)
    camera.close()
    return np.array(rows)
