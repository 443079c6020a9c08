"""What models cost: parameters, multiply-accumulates, and LiteRT files whose latency can be measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg import __version__
from edgeseg.atomic import atomic_file
from edgeseg.bundle.manifest import Precision
from edgeseg.errors import ConversionError, EdgesegError
from edgeseg.resize import resize_image
from edgeseg.training.data import open_dataset

if TYPE_CHECKING:
    import keras

PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


@dataclass(frozen=True)
class Cost:
    """What one model costs.

    Args:
        name: The model.
        options: Its default options.
        parameters: All of its weights, those of BatchNorm's averages too; ``None`` where it was not built.
        macs: Multiply-accumulates of one image.
        files: Precision to its LiteRT file.
        medians: Precision to the median of its inferences, in milliseconds.
        notes: Why something is missing.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    macs: int | None = None
    files: Mapping[str, Path] = field(default_factory=dict)
    medians: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "model": self.name,
            "options": dict(self.options),
            "parameters": self.parameters,
            "macs": self.macs,
            "litert_ms_p50": {precision: round(ms, 3) for precision, ms in self.medians.items()},
            "litert_bytes": {precision: path.stat().st_size for precision, path in self.files.items()},
            "notes": list(self.notes),
        }


def model_cost(
    name: str,
    size: tuple[int, int],
    classes: int,
    work: Path | None = None,
    scenes: npt.NDArray[np.uint8] | None = None,
) -> Cost:
    """Build a model at its default options, with random weights, and count what it costs.

    Args:
        name: One of ``MODELS``.
        size: Height and width of the input.
        classes: Of the output.
        work: Folder for its LiteRT files, of which those that are there are not made again; ``None``: none.
        scenes: ``uint8 [N, H, W, 3]`` RGB to calibrate int8 on, see :func:`drawn_scenes`.

    Returns:
        The cost; what cannot be built or converted says why in its notes.
    """
    import keras

    from edgeseg.training.models import build_model, inference_model, model_options
    from edgeseg.training.models.cost import macs

    # One model's memory and layer names must not depend on those before it.
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    try:
        options = model_options(name)
        model = inference_model(build_model(name, classes, *size))
    except EdgesegError as error:
        return Cost(name, notes=(str(error),))
    cost = Cost(name, options, model.count_params(), macs(model))
    return _converted(cost, model, work, scenes) if work else cost


def drawn_scenes(size: tuple[int, int], count: int = 8) -> npt.NDArray[np.uint8]:
    """Street scenes to calibrate int8 on, ``uint8 [count, H, W, 3]`` RGB."""
    # Scenes are not drawn smaller than this.
    height, width = (max(side, 64) for side in size)
    dataset = open_dataset(f"synthetic:train={count},val=1,size={height}x{width}")
    return np.stack([resize_image(dataset.read_image(item), *size) for item in dataset.items("train")])


def _converted(cost: Cost, model: keras.Model, work: Path, scenes: npt.NDArray[np.uint8] | None) -> Cost:
    """With a LiteRT file of each precision, or a note of why there is none."""
    files: dict[str, Path] = {}
    notes = []
    for precision in PRECISIONS:
        path = work / f"{cost.name}-{_fingerprint(model)}.{precision}.tflite"
        try:
            if not path.is_file():
                data = _litert(model, precision, scenes)
                with atomic_file(path) as staging:
                    staging.write_bytes(data)
            files[precision] = path
        except ConversionError as error:
            notes.append(str(error))
    return replace(cost, files=files, notes=tuple(notes))


def _litert(model: keras.Model, precision: str, scenes: npt.NDArray[np.uint8] | None) -> bytes:
    from edgeseg.export.int8 import Int8Settings
    from edgeseg.export.litert_int8 import LiteRTQuantiser
    from edgeseg.export.to_litert import convert_litert

    if precision == "int8" and scenes is not None:
        return LiteRTQuantiser(model, "mask", scenes).quantise(Int8Settings()).data
    return convert_litert(model, "mask", "fp32")


def _fingerprint(model: keras.Model) -> str:
    """Of what makes a model's file, apart from its weights: its layers and the versions that convert them."""
    parts = [json.dumps(model.get_config(), sort_keys=True), __version__, version("keras")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
