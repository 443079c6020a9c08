"""Any bundle as one callable: camera frame in, class map with its timings and age out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeseg.atomic import atomic_file
from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import InferenceError, UsageError
from edgeseg.labels import LabelSet, Mask
from edgeseg.overlay import draw_overlay
from edgeseg.resize import Image, resize_image, resize_mask
from edgeseg.runtimes import RUNTIMES, Runtime
from edgeseg.runtimes.choice import choose_model, choose_threads
from edgeseg.runtimes.golden import check_golden
from edgeseg.runtimes.trial import try_model

_JPEG_QUALITY = 92


@dataclass(frozen=True)
class Timings:
    """Milliseconds spent on one frame, by stage. ``total_ms`` runs from the call to the finished mask."""

    resize_ms: float
    infer_ms: float
    post_ms: float
    total_ms: float


@dataclass(frozen=True)
class Segmentation:
    """One frame's class map.

    Args:
        frame: The frame as it was given, ``uint8 [H, W, 3]`` RGB.
        mask: Class ids at the frame's size, ``uint8 [H, W]``; brought there by nearest pixels.
        model_mask: Class ids as the model gave them, ``uint8 [h, w]``.
        confidence: Probability × 255 of each pixel's class, ``uint8 [h, w]``, where the bundle gives it.
        labels: What the ids mean.
        timings: Where the time went.
        captured_ns: When the frame was captured, on the clock of :func:`time.monotonic_ns`.
        finished_ns: When the mask was finished, on the same clock.
        valid: Whether the mask may be acted on; the camera loop clears it on masks that it hands on too old.
    """

    frame: Image
    mask: Mask
    model_mask: Mask
    confidence: Mask | None
    labels: LabelSet
    timings: Timings
    captured_ns: int
    finished_ns: int
    valid: bool = True

    @property
    def age_ms(self) -> float:
        """How old the picture was when its mask was finished: from capture to mask, in milliseconds."""
        return (self.finished_ns - self.captured_ns) / 1e6

    def shares(self) -> dict[str, float]:
        """Class name to its share of the picture, 0 to 1, for the classes that are in it."""
        counts = np.bincount(self.mask.ravel(), minlength=len(self.labels))
        return {c.name: float(counts[c.id] / self.mask.size) for c in self.labels.classes if counts[c.id]}

    def overlay(self, alpha: float = 0.5, *, legend: bool = True) -> Image:
        """The frame with its classes drawn over it, ``uint8 [H, W, 3]`` RGB."""
        return draw_overlay(self.frame, self.mask, self.labels, alpha, legend=legend)

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write the class ids as a one-channel PNG, and the overlay beside it as ``STEM_overlay.jpg``.

        Each file appears whole or not at all. Gives both paths.

        Raises:
            UsageError: ``path`` does not end in ``.png``: another format would change the ids.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise UsageError(
                path,
                expected="a file name that ends in .png",
                found=repr(path.suffix),
                next_step="Name a .png: class ids must be stored without loss.",
            )
        overlay = path.with_name(f"{path.stem}_overlay.jpg")
        _write_image(path, self.mask, [])
        bgr = cv2.cvtColor(self.overlay(), cv2.COLOR_RGB2BGR)
        _write_image(overlay, np.asarray(bgr, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return path, overlay


def load(
    path: str | Path | Bundle,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    self_test: bool = True,
    trusted_keys: Sequence[str | Path] | None = None,
    isolate: bool = False,
) -> Segmenter:
    """Open a bundle, check it, and load its model.

    Args:
        path: ``NAME.edgeseg/``, or a bundle that is open already.
        runtime: One of the bundle's runtimes; by default the first of them that is installed.
        threads: Threads that one inference may use; by default every core this process may use, up to 4.
        precision: Which of the bundle's models to take, where it holds several; by default the first.
        self_test: Run the golden frames and compare their masks. Leave it on except to measure it.
        trusted_keys: Public keys, PEM files. Where given, one of them must have signed the bundle.
        isolate: Load the model and run a frame in a process of its own first, with limits of time and
            memory, so that a model file that crashes or hangs its runtime is an error here and not the end of
            this process, as the commands that run one do. It is off by default, for it takes about as long as
            loading does and starts an interpreter, and a program that loads bundles of its own making gains
            nothing by it.

    Raises:
        BundleError: The bundle is damaged, unsafe, or gives other masks than it gave at export.
        KeyFileError: A trusted key cannot be read.
        RuntimeUnavailableError: None of the bundle's runtimes is installed.
        MissingExtraError: The runtime asked for is not installed.
        UsageError: The bundle has no such runtime or precision, or ``threads`` is not positive.
        EngineBuildError: TensorRT could not build an engine of the model on this device.
    """
    bundle = _opened(path, trusted_keys)
    factory, model = choose_model(bundle, runtime, precision)
    threads = choose_threads(threads)
    if isolate:
        try_model(factory, bundle, model, threads)
    segmenter = Segmenter(bundle, model, factory.load(bundle, model, threads))
    if self_test:
        try:
            segmenter.self_test()
        except BaseException:
            segmenter.close()
            raise
    return segmenter


class Segmenter:
    """A loaded bundle; :func:`load` makes it. Use it from one thread at a time, and close it.

    Attributes:
        bundle: The checked bundle.
        model: The one of its model files that runs.
        labels: What the ids of the masks mean.
        height: The model's input height in pixels.
        width: Its width.
    """

    def __init__(self, bundle: Bundle, model: ModelFile, runtime: Runtime) -> None:
        self.bundle = bundle
        self.model = model
        self.labels = bundle.labels
        self.height = bundle.manifest.input.height
        self.width = bundle.manifest.input.width
        self._runtime = runtime
        self._input = np.zeros((self.height, self.width, 3), np.uint8)

    @property
    def runtime_name(self) -> str:
        return self._runtime.name

    @property
    def threads(self) -> int:
        return self._runtime.threads

    @property
    def computes_in(self) -> str | None:
        """The numbers that float operations compute in, where the runtime chose them: ``f32``, ``bf16``."""
        return self._runtime.computes_in

    @property
    def build_note(self) -> str | None:
        """What is still to be built on the device for the bundle's first runtime, where another one runs."""
        manifest = self.bundle.manifest
        if manifest.build.state == "complete" or self.runtime_name == manifest.runtime.names[0]:
            return None
        return f"{self.runtime_name} runs, not {manifest.runtime.names[0]}: {manifest.build.note}"

    def __call__(
        self,
        frame: Image,
        *,
        captured_ns: int | None = None,
        out: Mask | None = None,
        adjust: Callable[[Mask], None] | None = None,
    ) -> Segmentation:
        """Segment a frame ``uint8 [H, W, 3]`` RGB of any size.

        Args:
            frame: The picture. It is kept by reference in the result.
            captured_ns: When it was captured, by :func:`time.monotonic_ns`; by default now.
            out: Where the mask is written, ``uint8 [H, W]``; by default an array of its own.
            adjust: Changes the model's mask ``uint8 [h, w]`` in place, before it has the frame's size.

        Raises:
            InferenceError: The frame is no such array, or the runtime failed.
        """
        started = time.monotonic_ns()
        _check_frame(frame)
        resized = np.ascontiguousarray(resize_image(frame, self.height, self.width, out=self._input))
        after_resize = time.monotonic_ns()
        raw = self._runtime.infer(resized)
        after_infer = time.monotonic_ns()
        if adjust is not None:
            adjust(raw.mask)
        mask = resize_mask(raw.mask, *frame.shape[:2], out=out)
        finished = time.monotonic_ns()
        timings = Timings(
            (after_resize - started) / 1e6,
            (after_infer - after_resize) / 1e6,
            (finished - after_infer) / 1e6,
            (finished - started) / 1e6,
        )
        captured = started if captured_ns is None else captured_ns
        return Segmentation(frame, mask, raw.mask, raw.confidence, self.labels, timings, captured, finished)

    def predict(self, image: Image) -> Mask:
        """The class map ``uint8 [h, w]`` of an image ``uint8 [h, w, 3]`` at the model's input size.

        Raises:
            InferenceError: The image has another size or dtype, or the runtime failed.
        """
        return self._runtime.infer(np.ascontiguousarray(image)).mask

    def self_test(self) -> float:
        """Run the golden frames; the lowest agreement, 0 to 1, of a mask with the one stored at export.

        Raises:
            GoldenMismatchError: It is lower than the manifest allows.
        """
        ran_with = f"{self.runtime_name} {RUNTIMES[self.runtime_name].version()}"
        return check_golden(self.bundle, self.model, self.predict, ran_with)

    def close(self) -> None:
        """Release the model; calling twice is harmless."""
        self._runtime.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(path: str | Path | Bundle, trusted_keys: Sequence[str | Path] | None) -> Bundle:
    if not isinstance(path, Bundle):
        return Bundle.open(path, trusted_keys)
    if trusted_keys is not None:
        raise UsageError(
            "trusted_keys",
            expected="a bundle's path beside them",
            found="a bundle that is open already",
            next_step="Give them to Bundle.open: a signature is checked before anything else.",
        )
    return path


def _check_frame(frame: Image) -> None:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        is_array = isinstance(frame, np.ndarray)
        raise InferenceError(
            "frame",
            expected="a NumPy array uint8 [H, W, 3] RGB",
            found=f"{frame.dtype} {list(frame.shape)}" if is_array else type(frame).__name__,
            next_step="Convert the picture first, for instance with cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).",
        )
    if not frame.size:
        raise InferenceError(
            "frame",
            expected="at least one pixel",
            found=str(list(frame.shape)),
            next_step="Check the camera.",
        )


def _write_image(path: Path, image: Image, parameters: list[int]) -> None:
    _, encoded = cv2.imencode(path.suffix, image, parameters)
    with atomic_file(path) as staging:
        staging.write_bytes(encoded.tobytes())
