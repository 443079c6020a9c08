"""A bare OpenVINO graph (``.xml`` with its ``.bin``), as OpenVINO's own guide runs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.loaders.base import PlainRunner, Tensor
from edgeseg.benchmarks.protocol import Job, Loaded
from edgeseg.errors import BundleError, MissingExtraError
from edgeseg.runtimes.base import installed_version
from edgeseg.runtimes.openvino import import_openvino


class OpenVINOFile(PlainRunner):
    """With the hint for latency that its guide advises, and otherwise as it comes.

    Left alone, OpenVINO computes a float graph in bfloat16 where the CPU has it; with ``precision`` fp32 it
    is told not to.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._compiled = _compiled(job)
        super().__init__(job, _tensor(self._compiled.input(0)), _tensor(self._compiled.output(0)))
        self._request = self._compiled.create_infer_request()

    @property
    def loaded(self) -> Loaded:
        version = installed_version("openvino") or "unknown"
        computes_in = self._compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        # Of a float graph that is left alone the CPU decides, so what it computes in is what was measured.
        of_floats = "bf16" if computes_in == "bf16" else "fp32"
        precision = self._job.precision or ("int8" if _is_quantised(self._job.model) else of_floats)
        model = Path(self._job.model).name
        return Loaded("openvino", version, model, precision, self._job.threads, computes_in)

    def infer(self, batch: npt.NDArray[Any]) -> npt.NDArray[Any]:
        made: npt.NDArray[Any] = self._request.infer([batch])[self._compiled.output(0)]
        return made


def open_runner(job: Job) -> OpenVINOFile:
    return OpenVINOFile(job)


def _compiled(job: Job) -> Any:
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise MissingExtraError.of("measuring OpenVINO files", "openvino", "openvino") from error
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": job.threads}
    if job.precision in ("fp32", "bf16"):
        settings["INFERENCE_PRECISION_HINT"] = {"fp32": "f32", "bf16": "bf16"}[job.precision]
    try:
        return openvino.Core().compile_model(job.model, "CPU", settings)
    except RuntimeError as error:
        raise BundleError(
            job.model,
            expected="a model that OpenVINO can load",
            found=str(error).strip(),
            next_step="Convert it again, or install another version of openvino.",
        ) from error


def _tensor(port: Any) -> Tensor:
    """A batch of any size is one of 1 here; any other open dimension is 0, which is refused."""
    lengths = [int(d.get_length()) if d.is_static else 0 for d in port.get_partial_shape()]
    return Tensor((1, *lengths[1:]), np.dtype(port.get_element_type().to_dtype()))


def _is_quantised(model: str) -> bool:
    """By the names of its operations, which the file holds as text."""
    return b'type="FakeQuantize"' in Path(model).read_bytes()
