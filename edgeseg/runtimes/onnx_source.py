"""What every runtime that is given an ONNX file asks of its bytes first."""

from __future__ import annotations

from edgeseg.errors import BundleError, UnsafeModelError
from edgeseg.runtimes.onnx_wire import has_external_data


def refuse_external_data(source: str, data: bytes) -> None:
    """Let no ONNX file through that is damaged, or that has its data elsewhere.

    Raises:
        BundleError: The bytes are not protobuf messages.
        UnsafeModelError: A tensor's data is in another file.
    """
    try:
        external = has_external_data(data)
    except ValueError as error:
        raise BundleError(
            source,
            expected="an ONNX model",
            found=f"damaged bytes ({error})",
            next_step="Export the bundle again.",
        ) from error
    if external:
        raise UnsafeModelError(
            source,
            expected="a model that holds all of its data",
            found="tensors whose data is in another file",
            next_step="Do not run it; make the model's file again so that it needs nothing from outside.",
        )
