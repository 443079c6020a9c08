"""A bare ``.tflite`` file, as LiteRT's own guide runs one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.loaders.base import PlainRunner, Tensor
from edgeseg.benchmarks.protocol import Job, Loaded
from edgeseg.errors import BundleError, MissingExtraError
from edgeseg.runtimes.base import installed_version

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


def open_interpreter(path: Path, threads: int) -> Interpreter:
    """The file, ready to run.

    Raises:
        MissingExtraError: LiteRT is not installed.
        BundleError: The file cannot be loaded.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise MissingExtraError.of("measuring LiteRT files", "ai-edge-litert", "litert") from error
    try:
        interpreter = Interpreter(model_path=str(path), num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            path,
            expected="a model that LiteRT can load",
            found=str(error).strip(),
            next_step="Convert it again, or install another version of ai-edge-litert.",
        ) from error
    return interpreter


class LiteRTFile(PlainRunner):
    """Codes of integer inputs and outputs are made and read by each tensor's own step and zero."""

    def __init__(self, job: Job) -> None:
        self._interpreter: Any = open_interpreter(Path(job.model), job.threads)
        self._job = job
        given, made = self._interpreter.get_input_details()[0], self._interpreter.get_output_details()[0]
        self._input, self._output = given["index"], made["index"]
        self._step, self._zero = given["quantization"]
        self._integers = given["dtype"]
        # uint8 without a scale is what a camera gives; int8 is always a code of something scaled.
        self._codes = self._step > 0 and (self._integers == np.int8 or job.scaling is not None)
        dtype = np.dtype(np.float32 if self._codes else self._integers)
        shapes = [tuple(map(int, details["shape"])) for details in (given, made)]
        super().__init__(job, Tensor(shapes[0], dtype), Tensor(shapes[1], np.dtype(made["dtype"])))

    @property
    def loaded(self) -> Loaded:
        details = self._interpreter.get_tensor_details()
        int8 = sum(d["dtype"] == np.int8 for d in details) > len(details) / 2
        version = installed_version("ai-edge-litert") or "unknown"
        precision = "int8" if int8 else "fp32"
        return Loaded("litert", version, Path(self._job.model).name, precision, self._job.threads)

    def infer(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if self._codes:
            limits = np.iinfo(self._integers)
            codes = np.clip(np.round(batch / self._step) + self._zero, limits.min, limits.max)
            batch = codes.astype(self._integers)
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        # A quantised score is a rising line of the real one, so the largest stays the largest.
        made: npt.NDArray[Any] = self._interpreter.get_tensor(self._output)
        return made


def open_runner(job: Job) -> LiteRTFile:
    return LiteRTFile(job)
