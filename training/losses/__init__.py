"""The losses that can be trained with: pure functions of sparse labels and logits.

Each has the signature ``(y_true, logits, *, ignore_index=255, class_weights=None, **options) -> scalar``. A
new one is its function, in the file of its family, and its line in ``LOSSES``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from edgeseg.errors import UnknownNameError

# Names of modules, not functions: listing the losses must not need Keras.
LOSSES: dict[str, str] = {
    "boundary_cross_entropy": "edgeseg.training.losses.boundary",
    "cross_entropy": "edgeseg.training.losses.cross_entropy",
    "dice": "edgeseg.training.losses.region",
    "dice_cross_entropy": "edgeseg.training.losses.combined",
    "focal": "edgeseg.training.losses.focal",
    "focal_tversky": "edgeseg.training.losses.region",
    "iou": "edgeseg.training.losses.region",
    "lovasz_cross_entropy": "edgeseg.training.losses.combined",
    "lovasz_softmax": "edgeseg.training.losses.lovasz",
    "ohem_cross_entropy": "edgeseg.training.losses.ohem",
    "total": "edgeseg.training.losses.combined",
    "tversky": "edgeseg.training.losses.region",
}
"""Name of a loss to the module that holds the function of that name."""


def loss_function(name: str) -> Callable[..., Any]:
    """The function of a loss.

    Raises:
        UnknownNameError: There is no such loss.
    """
    if name not in LOSSES:
        raise UnknownNameError.of("loss", name, LOSSES)
    function: Callable[..., Any] = getattr(importlib.import_module(LOSSES[name]), name)
    return function
