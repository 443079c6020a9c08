"""A bare ``.onnx`` file, as ONNX Runtime's own guide runs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.loaders.base import PlainRunner, Tensor
from edgeseg.benchmarks.protocol import Job, Loaded
from edgeseg.errors import BundleError, MissingExtraError
from edgeseg.runtimes.base import installed_version

_DTYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(float16)": np.float16}


class OnnxFile(PlainRunner):
    """The first input and the first output of the graph."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._session = _session(job)
        given, made = self._session.get_inputs()[0], self._session.get_outputs()[0]
        self._input, self._output = given.name, made.name
        super().__init__(job, _tensor(given), _tensor(made))

    @property
    def loaded(self) -> Loaded:
        version = installed_version("onnxruntime", "onnxruntime-gpu") or "unknown"
        precision = self._job.precision or ("int8" if _is_quantised(self._job.model) else "fp32")
        return Loaded("onnx", version, Path(self._job.model).name, precision, self._job.threads)

    def infer(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        made: npt.NDArray[Any] = self._session.run([self._output], {self._input: batch})[0]
        return made


def open_runner(job: Job) -> OnnxFile:
    return OnnxFile(job)


def _tensor(node: Any) -> Tensor:
    """A batch of any size is one of 1 here."""
    return Tensor((1, *node.shape[1:]), np.dtype(_DTYPES.get(node.type, np.int64)))


def _session(job: Job) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError.of("measuring ONNX files", "onnxruntime", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class below Exception
        raise BundleError(
            job.model,
            expected="a model that ONNX Runtime can load",
            found=str(error).strip(),
            next_step="Convert it again, or install another version of onnxruntime.",
        ) from error


def _is_quantised(model: str) -> bool:
    """By the names of its operations, which the file holds as text."""
    return b"QuantizeLinear" in Path(model).read_bytes()
