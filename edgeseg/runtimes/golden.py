"""The golden self-test: a loaded model gives the masks that it gave when it was exported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.bundle.manifest import GOLDEN_NAME
from edgeseg.errors import GoldenMismatchError
from edgeseg.labels import Mask
from edgeseg.metrics import agreement

Predictor = Callable[[npt.NDArray[np.uint8]], Mask]


def check_golden(bundle: Bundle, model: ModelFile, predict: Predictor, ran_with: str) -> float:
    """Run the golden frames; the lowest agreement, 0 to 1, of a mask with the one stored at export.

    Args:
        bundle: A checked bundle.
        model: Which of its files ``predict`` runs.
        predict: Class map ``uint8 [h, w]`` of a frame ``uint8 [h, w, 3]``.
        ran_with: Runtime and version, for messages.

    Raises:
        GoldenMismatchError: It is lower than the manifest allows.
    """
    golden = bundle.golden()
    expected = golden.masks[model.file]
    lowest = min(agreement(predict(f), m) for f, m in zip(golden.frames, expected, strict=True))
    if lowest < model.golden_min_agreement:
        raise GoldenMismatchError(
            bundle.path / model.file,
            expected=f"≥ {model.golden_min_agreement:.4%} of pixels as in {GOLDEN_NAME}",
            found=f"{lowest:.4%} with {ran_with}",
            next_step=f"Use {_verified_versions(bundle)}, or export the bundle again.",
        )
    return lowest


def _verified_versions(bundle: Bundle) -> str:
    versions = bundle.manifest.runtime.verified_with
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "the runtime of the export"
