"""LiteRT (``.tflite``) through ``ai-edge-litert``: the runtime for Arm boards."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import BundleError, MissingExtraError, UnsafeModelError
from edgeseg.runtimes.base import LoadedModel, Port, installed_version

_MOST_OPERATORS = 10_000
_LONGEST_NAME = 60


class LiteRT:
    """Loads ``.tflite`` files on the CPU, with XNNPACK."""

    name = "litert"
    formats: tuple[str, ...] = ("tflite",)
    package = "ai-edge-litert"
    remedy = "pip install 'edgeseg[litert]'"
    builds_on_gpu = False

    def version(self) -> str | None:
        return installed_version(self.package)

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> LiteRTModel:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingExtraError.of("runtime 'litert'", self.package, "litert") from error
        source, data = str(bundle.path / model.file), bundle.model_bytes(model)
        refuse_custom_code(source, data)
        try:
            interpreter = Interpreter(model_content=data, num_threads=threads)
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise BundleError(
                source,
                expected="a model that LiteRT can load",
                found=str(error).strip(),
                next_step=f"Export it again, or install {self.package} {_verified(bundle, self.name)}.",
            ) from error
        return LiteRTModel(source, bundle, interpreter, threads)


class LiteRTModel(LoadedModel):
    """A ``.tflite`` model that is ready to run; made by :meth:`LiteRT.load`."""

    name = "litert"
    failures = (ValueError, RuntimeError)

    def __init__(self, source: str, bundle: Bundle, interpreter: Any, threads: int) -> None:
        inputs, outputs = interpreter.get_input_details(), _outputs(interpreter)
        super().__init__(source, bundle.manifest, _ports(inputs), _ports(outputs), threads)
        self._interpreter = interpreter
        self._input = inputs[0]["index"]
        self._outputs = [outputs[i]["index"] for i in self.order]

    def run(self, batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        self._interpreter.set_tensor(self._input, batch)
        self._interpreter.invoke()
        # get_tensor copies: the arrays outlive the next call.
        return [self._interpreter.get_tensor(index) for index in self._outputs]

    def close(self) -> None:
        super().close()
        self._interpreter = None


def refuse_custom_code(source: str, data: bytes) -> None:
    """Custom operations need code, and external buffers data, from outside the file: its own tables tell."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(data, 0)
        count = model.OperatorCodesLength()
        if count > _MOST_OPERATORS:
            raise IndexError(f"{count} kinds of operations")
        # The first of them: as many as there are may all lead to the same long text.
        codes = (model.OperatorCodes(i).CustomCode() for i in range(count))
        custom = next((code for code in codes if code is not None), None)
        groups = model.ExternalBufferGroupsLength() if hasattr(model, "ExternalBufferGroupsLength") else 0
    except (struct.error, IndexError, TypeError, AttributeError) as error:
        raise BundleError(
            source,
            expected="a LiteRT model",
            found=f"a file that is none ({error})",
            next_step="Export the bundle again.",
        ) from error
    if custom is not None or groups:
        raise UnsafeModelError(
            source,
            expected="built-in operations and data inside the file",
            found=f"{groups} external buffer group(s)"
            if custom is None
            else f"the custom operation {custom[:_LONGEST_NAME].decode(errors='replace')!r}",
            next_step="Do not run it; make the model's file again so that it needs nothing from outside.",
        )


def _outputs(interpreter: Any) -> list[dict[str, Any]]:
    """The output tensors under the names of the file's signature, which say what each of them is."""
    details: list[dict[str, Any]] = interpreter.get_output_details()
    signatures = interpreter.get_signature_list()
    if len(details) < 2 or not signatures:
        return details
    named = interpreter.get_signature_runner(next(iter(signatures))).get_output_details()
    return [{**detail, "name": name} for name, detail in sorted(named.items())]


def _ports(details: list[dict[str, Any]]) -> list[Port]:
    return [
        Port(str(d["name"]), np.dtype(d["dtype"]).name, tuple(int(n) for n in d["shape"])) for d in details
    ]


def _verified(bundle: Bundle, runtime: str) -> str:
    return bundle.manifest.runtime.verified_with.get(runtime, "in the version it was exported with")
