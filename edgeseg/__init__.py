"""edgeseg: from labelled driving images to a verified segmentation model in a car's camera loop.

import edgeseg

segmenter = edgeseg.load("model.edgeseg")
segmentation = segmenter(frame_rgb)  # uint8 [H, W, 3]
segmentation.mask                    # uint8 [H, W], the ids of segmentation.labels
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.bundle import Bundle
    from edgeseg.errors import EdgesegError
    from edgeseg.labels import LabelClass, LabelSet
    from edgeseg.metrics import ConfusionMatrix
    from edgeseg.segmenter import Segmentation, Segmenter, load

__version__ = "0.1.0"

# Loaded on first use: `edgeseg --help` needs neither NumPy nor OpenCV, and should not wait for them.
_HOMES = {
    "Bundle": "edgeseg.bundle",
    "ConfusionMatrix": "edgeseg.metrics",
    "EdgesegError": "edgeseg.errors",
    "LabelClass": "edgeseg.labels",
    "LabelSet": "edgeseg.labels",
    "Segmentation": "edgeseg.segmenter",
    "Segmenter": "edgeseg.segmenter",
    "load": "edgeseg.segmenter",
}
__all__ = [
    "Bundle",
    "ConfusionMatrix",
    "EdgesegError",
    "LabelClass",
    "LabelSet",
    "Segmentation",
    "Segmenter",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'edgeseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
