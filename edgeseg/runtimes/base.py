"""What every runtime does, what it gives, and the checks that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.bundle import Bundle, Manifest, ModelFile
from edgeseg.errors import BundleError, InferenceError


@dataclass(frozen=True)
class RawOutput:
    """One frame's class ids ``uint8 [H, W]`` and, where the graph gives it, confidence ``uint8 [H, W]``."""

    mask: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8] | None = None


class Runtime(Protocol):
    """A loaded model. ``infer`` is called from one thread at a time."""

    name: str
    threads: int
    computes_in: str | None
    """The numbers that its float operations compute in, ``f32`` or ``bf16``; ``None``: as the file says."""

    def infer(self, image: npt.NDArray[np.uint8]) -> RawOutput:
        """One frame ``uint8 [H, W, 3]`` RGB at the model's input size.

        The arrays returned belong to the caller: the next call does not overwrite them.

        Raises:
            InferenceError: The frame's shape or dtype is wrong, or the runtime failed.
        """

    def close(self) -> None:
        """Release the model; calling twice is harmless."""


class RuntimeFactory(Protocol):
    """What ``RUNTIMES`` holds: how to know whether a runtime is here, and how to load a model with it."""

    name: str
    formats: tuple[str, ...]
    package: str
    builds_on_gpu: bool
    """Whether the first load of a model builds an engine of it, on the GPU."""

    @property
    def remedy(self) -> str:
        """Where the runtime cannot run here: the command, or what else to do, that mends it."""

    def version(self) -> str | None:
        """The installed version, or ``None`` where the runtime is not installed or has no device."""

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> Runtime:
        """Load one model file of a checked bundle.

        Raises:
            MissingExtraError: The runtime is not installed.
            UnsafeModelError: The file refers to data or code outside itself.
            BundleError: The file cannot be loaded, or its inputs and outputs are not the manifest's.
            EngineBuildError: What the device has to build from the file first could not be built.
        """


@dataclass(frozen=True)
class Port:
    """An input or output of a model as the runtime reports it: name, NumPy dtype name, static shape."""

    name: str
    dtype: str
    shape: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


class LoadedModel(ABC):
    """What the model of every runtime does around the runtime's own call: a :class:`Runtime` in the making.

    Args:
        source: The model file, for messages.
        manifest: What the model must fit.
        inputs, outputs: What the runtime says of it.
        threads: On how many it runs.

    Raises:
        BundleError: Its inputs and outputs are not the manifest's.
    """

    name: str
    computes_in: str | None = None
    failures: tuple[type[Exception], ...]
    """What the runtime raises where it fails on a frame."""

    def __init__(
        self, source: str, manifest: Manifest, inputs: Sequence[Port], outputs: Sequence[Port], threads: int
    ) -> None:
        self.threads = threads
        self.order = check_ports(source, manifest, inputs, outputs)
        """Of the outputs: mask, confidence."""
        self._source, self._kind = source, manifest.output.kind
        self._shape = inputs[0].shape[1:]
        self._closed = False

    def infer(self, image: npt.NDArray[np.uint8]) -> RawOutput:
        check_image(image, self._shape)
        if self._closed:
            raise failed(self._source, RuntimeError("the model is closed"))
        try:
            arrays = self.run(image[np.newaxis])
        except self.failures as error:
            raise failed(self._source, error) from error
        return raw_output(self._kind, arrays)

    def close(self) -> None:
        self._closed = True

    @abstractmethod
    def run(self, batch: npt.NDArray[np.uint8]) -> Sequence[npt.NDArray[Any]]:
        """The outputs of one frame ``[1, H, W, 3]``, in ``order``; the next call must leave them alone."""


def installed_version(*packages: str) -> str | None:
    """The version of the first of these distributions that is installed; nothing is imported."""
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def check_ports(
    source: object, manifest: Manifest, inputs: Sequence[Port], outputs: Sequence[Port]
) -> list[int]:
    """Check a model's inputs and outputs against the manifest; gives the outputs' order: mask, confidence.

    Of the two outputs of ``mask+confidence``, the one whose name holds "confidence" is the confidence.

    Raises:
        BundleError: They are not the manifest's.
    """
    spec = manifest.output
    frame = (1, manifest.input.height, manifest.input.width, 3)
    count = 2 if spec.kind == "mask+confidence" else 1
    fits = [(p.dtype, p.shape) for p in inputs] == [("uint8", frame)]
    if not fits or [(p.dtype, p.shape) for p in outputs] != [(spec.dtype, spec.shape)] * count:
        raise BundleError(
            str(source),
            expected=f"one input uint8 {list(frame)} and {count} output(s) {spec.dtype} {list(spec.shape)}",
            found=f"inputs {', '.join(map(str, inputs))} and outputs {', '.join(map(str, outputs))}",
            next_step="Export the bundle again.",
        )
    return _order(source, outputs) if count == 2 else [0]


def check_image(image: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> None:
    """Check a frame before it is handed to native code.

    Raises:
        InferenceError: It is not ``uint8`` of ``shape``.
    """
    if image.dtype != np.uint8 or image.shape != shape:
        raise InferenceError(
            "frame",
            expected=f"uint8 {list(shape)} RGB",
            found=f"{image.dtype} {list(image.shape)}",
            next_step="Resize it with edgeseg.resize.resize_image, or call the segmenter, which does.",
        )


def raw_output(kind: str, arrays: Sequence[npt.NDArray[Any]]) -> RawOutput:
    """A graph's output arrays ``[1, …]`` in the order of :func:`check_ports` as a mask."""
    if kind == "logits":
        return RawOutput(np.argmax(arrays[0][0], axis=-1).astype(np.uint8))
    return RawOutput(arrays[0][0], arrays[1][0] if len(arrays) > 1 else None)


def failed(source: str, error: Exception) -> InferenceError:
    """What a runtime's own exception becomes."""
    return InferenceError(
        source,
        expected="a mask of the frame",
        found=f"{type(error).__name__}: {error}",
        next_step="Run 'edgeseg verify' on the bundle; if it passes, report this with the frame.",
    )


def _order(source: object, outputs: Sequence[Port]) -> list[int]:
    confidence = [i for i, port in enumerate(outputs) if "confidence" in port.name.lower()]
    if len(confidence) != 1:
        raise BundleError(
            str(source),
            expected="one output named mask and one named confidence",
            found=", ".join(port.name for port in outputs),
            next_step="Export the bundle again.",
        )
    return [1 - confidence[0], confidence[0]]
