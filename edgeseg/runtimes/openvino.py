"""OpenVINO IR (``.xml`` and ``.bin``) through OpenVINO on the CPU: a runtime for in-car x86 PCs."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.bundle.manifest import Precision
from edgeseg.errors import BundleError, MissingExtraError, UnsafeModelError
from edgeseg.runtimes.base import LoadedModel, Port, installed_version
from edgeseg.runtimes.openvino_ir import unsafe_part


class OpenVINO:
    """Loads OpenVINO IR on the CPU device, for the lowest latency of one frame."""

    name = "openvino"
    formats: tuple[str, ...] = ("openvino",)
    package = "openvino"
    remedy = "pip install 'edgeseg[openvino]'"
    builds_on_gpu = False

    def version(self) -> str | None:
        return installed_version(self.package)

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> OpenVINOModel:
        try:
            openvino = import_openvino()
        except ImportError as error:
            raise MissingExtraError.of("runtime 'openvino'", self.package, "openvino") from error
        source, data = str(bundle.path / model.file), bundle.model_bytes(model)
        _refuse_unsafe(source, data)
        core = openvino.Core()
        try:
            # From memory, both: what was hashed is what is loaded.
            graph = core.read_model(model=data, weights=bundle.weights_bytes(model))
            compiled = core.compile_model(graph, "CPU", _settings(model.precision, threads))
        except RuntimeError as error:
            raise _not_loaded(source, error) from error
        return OpenVINOModel(source, bundle, compiled, threads)


class OpenVINOModel(LoadedModel):
    """An OpenVINO model that is ready to run; made by :meth:`OpenVINO.load`."""

    name = "openvino"
    failures = (RuntimeError,)

    def __init__(self, source: str, bundle: Bundle, compiled: Any, threads: int) -> None:
        inputs, outputs = [_port(p) for p in compiled.inputs], [_port(p) for p in compiled.outputs]
        super().__init__(source, bundle.manifest, inputs, outputs, threads)
        self.computes_in = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        self._request: Any = compiled.create_infer_request()

    def run(self, batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        # The frame is read where it lies; the outputs are copies, and outlive the next call.
        outputs = self._request.infer([batch], share_inputs=True, share_outputs=False)
        return [outputs[index] for index in self.order]

    def close(self) -> None:
        super().close()
        self._request = None


def import_openvino() -> Any:
    """The package ``openvino``, without its telemetry.

    Its import alone would write an identifier into the user's home folder and send a message to its makers,
    and a camera loop does neither. OpenVINO and NNCF go without where that package is missing.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    # None is Python's own mark of a module that must not be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _settings(precision: Precision, threads: int) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # The threads of capture and sinks want cores too: where each runs is the system's business.
        "ENABLE_CPU_PINNING": False,
        # Left alone, a CPU that has bfloat16 would compute fp32 graphs in it, and one that has not would not.
        # What int8 leaves in float loses nothing by bfloat16, and is faster by a quarter.
        "INFERENCE_PRECISION_HINT": "bf16" if precision in ("bf16", "int8") else "f32",
    }


def _refuse_unsafe(source: str, data: bytes) -> None:
    try:
        unsafe = unsafe_part(data)
    except ValueError as error:
        raise BundleError(
            source,
            expected="an OpenVINO graph",
            found=f"damaged bytes ({error})",
            next_step="Export the bundle again.",
        ) from error
    if unsafe:
        raise UnsafeModelError(
            source,
            expected="a graph of OpenVINO's own operations with its data in the bundle",
            found=unsafe,
            next_step="Do not run it; export the model again with edgeseg export.",
        )


def _not_loaded(source: str, error: RuntimeError) -> BundleError:
    # The last line says it; those before it name files of OpenVINO's source.
    found = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
    # No extensions are registered, so OpenVINO knows no other operation than its own and says so.
    kind = UnsafeModelError if "contain the operation with type" in found else BundleError
    return kind(
        source,
        expected="a model of OpenVINO's own operations that it can load",
        found=found,
        next_step="Export the bundle again, or bring openvino to the version it was exported with.",
    )


def _port(port: Any) -> Port:
    shape = port.partial_shape
    sizes = (
        tuple(d.get_length() if d.is_static else str(d) for d in shape) if shape.rank.is_static else ("?",)
    )
    return Port(" ".join(sorted(port.get_names())), np.dtype(port.element_type.to_dtype()).name, sizes)
