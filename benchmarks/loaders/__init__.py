"""What a worker process can open: a kind of model is one file, and one line here.

A loader is named by ``MODULE:FUNCTION``, so that one that needs what this part must not import, as the one of
Keras files does, lives elsewhere.
"""

from __future__ import annotations

from pathlib import Path

from edgeseg.benchmarks.loaders.base import Runner
from edgeseg.errors import UsageError

__all__ = ["BUNDLE", "FILES", "Runner", "loader_of"]

BUNDLE = "edgeseg.benchmarks.loaders.bundle:open_runner"
FILES = {
    ".tflite": "edgeseg.benchmarks.loaders.litert_file:open_runner",
    ".onnx": "edgeseg.benchmarks.loaders.onnx_file:open_runner",
    ".xml": "edgeseg.benchmarks.loaders.openvino_file:open_runner",
    ".keras": "edgeseg.cli.keras_runner:open_runner",
}
"""Suffix to the loader of a file that is no bundle."""


def loader_of(path: Path) -> str:
    """The loader of a bundle's folder or a model file.

    Raises:
        UsageError: It is a file of no known kind, or of one that is not there.
    """
    if path.suffix.lower() in FILES:
        if not path.is_file():
            raise UsageError(
                path, expected="a model file", found="nothing there", next_step="Correct the path."
            )
        return FILES[path.suffix.lower()]
    if path.is_file():
        raise UsageError(
            path,
            expected=f"a bundle, or a file that ends in {', '.join(FILES)}",
            found=f"a file that ends in {path.suffix or 'nothing'}",
            next_step="Name a bundle, or convert the model to one of these.",
        )
    return BUNDLE
