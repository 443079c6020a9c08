"""ONNX (``.onnx``) through ONNX Runtime on the CPU: the runtime for in-car x86 PCs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import BundleError, MissingExtraError, UnsafeModelError
from edgeseg.runtimes.base import LoadedModel, Port, installed_version
from edgeseg.runtimes.onnx_source import refuse_external_data

_ERRORS_ONLY = 3


class OnnxRuntime:
    """Loads ``.onnx`` files on the CPU provider."""

    name = "onnx"
    formats: tuple[str, ...] = ("onnx",)
    package = "onnxruntime"
    remedy = "pip install 'edgeseg[onnx]'"
    builds_on_gpu = False

    def version(self) -> str | None:
        return installed_version(self.package, "onnxruntime-gpu", "onnxruntime-openvino")

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> OnnxModel:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError.of("runtime 'onnx'", self.package, "onnx") from error
        source, data = str(bundle.path / model.file), bundle.model_bytes(model)
        refuse_external_data(source, data)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors share no base class below Exception
            raise _not_loaded(source, str(error)) from error
        return OnnxModel(source, bundle, session, threads)


class OnnxModel(LoadedModel):
    """An ``.onnx`` model that is ready to run; made by :meth:`OnnxRuntime.load`."""

    name = "onnx"
    failures = (Exception,)  # its errors share no base class below Exception

    def __init__(self, source: str, bundle: Bundle, session: Any, threads: int) -> None:
        inputs = [_port(node) for node in session.get_inputs()]
        outputs = [_port(node) for node in session.get_outputs()]
        super().__init__(source, bundle.manifest, inputs, outputs, threads)
        self._session = session
        self._input = inputs[0].name
        self._outputs = [outputs[i].name for i in self.order]

    def run(self, batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        arrays: list[npt.NDArray[Any]] = self._session.run(self._outputs, {self._input: batch})
        return arrays

    def close(self) -> None:
        super().close()
        self._session = None


def _not_loaded(source: str, found: str) -> BundleError:
    # No custom operations are registered, so ONNX Runtime knows none and says so in these words.
    kind = UnsafeModelError if "is not a registered function/op" in found else BundleError
    return kind(
        source,
        expected="a model of standard operations that ONNX Runtime can load",
        found=found.strip(),
        next_step="Export the bundle again, or bring onnxruntime to the version it was exported with.",
    )


def _port(node: Any) -> Port:
    dtype = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}.get(node.type, node.type)
    return Port(node.name, dtype, tuple(node.shape))
