"""What the page asks of a model, wherever it runs, and bundles as such."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from edgeseg.labels import LabelSet, Mask
from edgeseg.resize import Image, resize_image, resize_mask
from edgeseg.runtimes.base import RawOutput
from edgeseg.segmenter import Segmenter, load


@dataclass(frozen=True)
class Prediction:
    """What a model said of one image.

    Args:
        mask: Class ids at the image's size, ``uint8 [H, W]``.
        confidence: Probability × 255 of each pixel's class at the same size, where the model gives it.
        total_ms: Milliseconds from the decoded image to the mask; of a service, as seen from here.
        stages_ms: Parts of it by name, as far as they are known.
    """

    mask: Mask
    confidence: Mask | None
    total_ms: float
    stages_ms: Mapping[str, float]


class Model(Protocol):
    """A model on the page. ``predict`` may be called from several threads.

    Attributes:
        name: Short, for people.
        kind: Where it runs and in what numbers: ``litert int8``, ``keras``, ``service``.
        digest: Names the weights: equal digests give equal masks.
        labels: What the ids of its masks mean.
    """

    name: str
    kind: str
    digest: str
    labels: LabelSet

    def predict(self, image: Image) -> Prediction:
        """The classes of an image ``uint8 [H, W, 3]`` RGB of any size.

        Raises:
            EdgesegError: It could not.
        """


class BundleModel:
    """A bundle through :func:`edgeseg.load`: checked, self-tested and timed as in the car.

    Raises:
        BundleError: The bundle is damaged, or no runtime for it is installed.
    """

    def __init__(self, path: Path) -> None:
        self._segmenter: Segmenter = load(path)
        self._lock = threading.Lock()
        self.name = path.name.removesuffix(".edgeseg")
        self.kind = f"{self._segmenter.runtime_name} {self._segmenter.model.precision}"
        self.digest = self._segmenter.bundle.digest
        self.labels = self._segmenter.labels

    def predict(self, image: Image) -> Prediction:
        with self._lock:
            found = self._segmenter(image)
        times = found.timings
        stages = {"resize": times.resize_ms, "infer": times.infer_ms, "post": times.post_ms}
        return Prediction(found.mask, _at_size(found.confidence, found.mask), times.total_ms, stages)


class FunctionModel:
    """A function from an image at the model's own size to its output, as a model of the page.

    Args:
        name, kind, digest, labels: As in :class:`Model`.
        height, width: What ``infer`` takes, in pixels.
        infer: ``uint8 [height, width, 3]`` RGB to ids and confidence ``uint8 [height, width]``.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        digest: str,
        labels: LabelSet,
        size: tuple[int, int],
        infer: Callable[[Image], RawOutput],
    ) -> None:
        self.name, self.kind, self.digest, self.labels = name, kind, digest, labels
        self._size, self._infer = size, infer
        self._lock = threading.Lock()

    def predict(self, image: Image) -> Prediction:
        with self._lock:
            marks = [time.perf_counter()]
            resized = resize_image(image, *self._size)
            marks.append(time.perf_counter())
            raw = self._infer(resized)
            marks.append(time.perf_counter())
            mask = resize_mask(raw.mask, *image.shape[:2])
            marks.append(time.perf_counter())
        ms = [1000 * (later - earlier) for earlier, later in pairwise(marks)]
        stages = dict(zip(("resize", "infer", "post"), ms, strict=True))
        return Prediction(mask, _at_size(raw.confidence, mask), sum(ms), stages)


def _at_size(confidence: Mask | None, mask: Mask) -> Mask | None:
    return None if confidence is None else resize_mask(confidence, *mask.shape)
