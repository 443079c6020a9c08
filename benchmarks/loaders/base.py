"""What every loader gives, and the path around a model that is only a network."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.protocol import Job, Loaded, Scaling
from edgeseg.errors import UsageError
from edgeseg.labels import Mask
from edgeseg.resize import Image, resize_image, resize_mask
from edgeseg.segmenter import Timings


class Runner(Protocol):
    """A model that is ready to be timed.

    Attributes:
        height, width: Of its input.
        classes: Of its output, where the output's shape tells them.
    """

    height: int
    width: int
    classes: int | None

    @property
    def loaded(self) -> Loaded: ...

    def run(self, frame: Image) -> Timings:
        """A camera's frame to a class map of its size; what is given is the time of each stage."""
        ...

    def predict(self, image: Image) -> Mask:
        """An image at the model's size to its class map ``uint8 [h, w]``."""
        ...

    def close(self) -> None: ...


class Tensor(NamedTuple):
    """An input or output of a network; a dimension of any length is no ``int`` above 0."""

    shape: tuple[Any, ...]
    dtype: np.dtype[Any]


class PlainRunner(ABC):
    """A network with the code around it that most projects write: scale, infer, argmax, enlarge.

    It is written well, with what NumPy and OpenCV do best, for it stands for the peers that bundles are
    measured beside.

    Args:
        job: What is opened.
        given: The input, ``[1, H, W, 3]`` or ``[1, 3, H, W]``.
        made: The output: scores ``[1, h, w, C]`` or ``[1, C, h, w]``, or class ids.

    Raises:
        UsageError: The input or output is none of these, or floats are taken and nobody says how they are
            scaled.
    """

    def __init__(self, job: Job, given: Tensor, made: Tensor) -> None:
        self._planes, self.height, self.width = _layout(job.model, given.shape)
        self._scaling = _scaling_of(job, given.dtype)
        self._dtype = given.dtype
        self._axis = _class_axis(job.model, made.shape, self.height, self.width)
        self.classes: int | None = made.shape[self._axis] if self._axis is not None else None
        if self._axis is None and np.issubdtype(made.dtype, np.floating):
            raise _unusable(
                job.model, "scores of two classes or more, or class ids", f"{made.dtype} {made.shape}"
            )

    @abstractmethod
    def infer(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The network alone: what it takes to what it gives, batch dimensions included."""

    def run(self, frame: Image) -> Timings:
        start = time.perf_counter_ns()
        image = resize_image(frame, self.height, self.width)
        resized = time.perf_counter_ns()
        made = self.infer(self._prepared(image))
        inferred = time.perf_counter_ns()
        resize_mask(self._ids(made), *frame.shape[:2])
        end = time.perf_counter_ns()
        # Scaling the pixels is the price of the network's input, so it counts as inference.
        marks = (resized - start, inferred - resized, end - inferred, end - start)
        return Timings(*(nanoseconds / 1e6 for nanoseconds in marks))

    def predict(self, image: Image) -> Mask:
        return self._ids(self.infer(self._prepared(image)))

    def close(self) -> None:  # noqa: B027 - there is nothing to let go of but memory
        """The end of it."""

    def _prepared(self, image: Image) -> npt.NDArray[Any]:
        batch: npt.NDArray[Any] = image[np.newaxis]
        if self._scaling is not None:
            batch = _scaled(batch, self._scaling)
        if self._planes:
            batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
        return batch.astype(self._dtype, copy=False)

    def _ids(self, made: npt.NDArray[Any]) -> Mask:
        ids = made if self._axis is None else made.argmax(axis=self._axis)
        mask: Mask = ids.squeeze().astype(np.uint8)
        return mask


class FunctionRunner(PlainRunner):
    """A network that is given as a function from arrays to arrays.

    Args:
        call: From a batch of one to the output.
        loaded: What it turned out to be.
    """

    def __init__(
        self,
        job: Job,
        given: Tensor,
        made: Tensor,
        call: Callable[[npt.NDArray[Any]], npt.NDArray[Any]],
        loaded: Loaded,
    ) -> None:
        super().__init__(job, given, made)
        self._call = call
        self.loaded = loaded

    def infer(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return self._call(batch)


def _layout(model: str, shape: tuple[Any, ...]) -> tuple[bool, int, int]:
    """Whether the colours come as planes, and height and width."""
    planes = len(shape) == 4 and shape[1] == 3 and shape[3] != 3
    size = shape[2:] if planes else shape[1:3]
    if (
        len(shape) != 4
        or 3 not in (shape[1], shape[3])
        or not all(isinstance(n, int) and n > 0 for n in size)
    ):
        raise _unusable(model, "images of a fixed size, [1, H, W, 3] or [1, 3, H, W]", shape)
    return planes, size[0], size[1]


def _scaling_of(job: Job, dtype: np.dtype[Any]) -> Scaling | None:
    if not np.issubdtype(dtype, np.floating):
        return None
    if job.scaling is None:
        raise UsageError(
            "--input-scale",
            expected=f"how the pixels were scaled when {job.model} was trained, for it takes {dtype}",
            found="nothing",
            next_step="Give it, for instance --input-scale imagenet; none leaves them at 0 to 255.",
        )
    return job.scaling


def _scaled(batch: npt.NDArray[Any], scaling: Scaling) -> npt.NDArray[np.float32]:
    scale, offset = (np.array(values, np.float32) for values in (scaling.scale, scaling.offset))
    return np.asarray(batch * scale + offset, np.float32)


def _class_axis(model: str, made: tuple[Any, ...], height: int, width: int) -> int | None:
    """Where the scores of the classes lie; ``None`` where the output is class ids already."""
    if len(made) != 4 or 1 in (made[1], made[-1]):
        return None
    known = [axis for axis in (1, 3) if isinstance(made[axis], int) and made[axis] > 0]
    if not known:
        raise _unusable(model, "scores of a known number of classes", made)
    # What is left without the classes is a map of the input's shape, as large or smaller.
    fitting = [axis for axis in known if _is_map(made[1:axis] + made[axis + 1 :], height, width)]
    # Classes are few and pixels are many: of two that fit the shorter is that of the classes.
    return min(fitting or known, key=lambda axis: (made[axis], -axis))


def _is_map(size: tuple[Any, ...], height: int, width: int) -> bool:
    """Whether a map could be the input's, enlarged or shrunk; an open length could be any."""
    rows, columns = size
    if not all(isinstance(length, int) and length > 0 for length in size):
        return True
    return bool(rows * width == columns * height)


def _unusable(model: str, expected: str, found: object) -> UsageError:
    return UsageError(
        model,
        expected=expected,
        found=str(found),
        next_step="Wrap a .tflite or .onnx file with 'edgeseg bundle', which asks for what the file does not "
        "say.",
    )
