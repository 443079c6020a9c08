"""What a foreign model says of a frame when nothing is wrapped around it.

The bare file runs in its own runtime; pixels and class maps are made here, in NumPy alone and in double
precision. Nothing of this is shared with the graphs that :mod:`edgeseg.export.wrapping` writes: where both
give the same masks, the wrapping is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import DataError
from edgeseg.export.wrapping.reading import InputReading, OutputReading, Reading
from edgeseg.export.wrapping.tensors import RawModel, code_range
from edgeseg.labels import LabelSet, Mask
from edgeseg.resize import Image
from edgeseg.training.pixel_scales import PIXEL_SCALES

_TIE = 1 / 256
"""Of a code: what lies so little below the middle between two codes goes up, as in the graphs."""
_Array = npt.NDArray[Any]


class BareModel:
    """Predicts class maps with a foreign file as it is.

    Args:
        raw: The file, opened.
        reading: How its input and output are to be read.
        labels: What its class ids must be of.
    """

    def __init__(self, raw: RawModel, reading: Reading, labels: LabelSet) -> None:
        self._raw, self._reading, self.labels = raw, reading, labels

    def predict(self, image: Image) -> Mask:
        """The class map ``uint8 [h, w]`` of an image ``uint8 [h, w, 3]`` RGB at the model's input size.

        Raises:
            DataError: The model gives a class id that the labels do not have.
        """
        given = self._reading.input
        made = self._raw.run(_input(image, given), self._reading.output.tensor)
        ids = _class_ids(made, self._reading.output, given.height, given.width)
        self._refuse_unknown(ids)
        return ids.astype(np.uint8)

    def _refuse_unknown(self, ids: _Array) -> None:
        # Not `ids >= n`: what is not a number must not pass.
        wrong = ids[~((ids >= 0) & (ids < len(self.labels)) & (ids == np.floor(ids)))]
        if wrong.size:
            raise DataError(
                f"labels {self.labels.name!r}",
                expected=f"a class for every id that {self._raw.path} gives; they have 0 to "
                f"{len(self.labels) - 1}",
                found=f"{wrong.flat[0]:g} among the ids it gave of the golden frames",
                next_step="List all of the model's classes, one for the void too if it has one.",
            )


def _input(image: Image, given: InputReading) -> _Array:
    scale, offset = (np.array(values) for values in PIXEL_SCALES[given.pixels.name])
    values = image.astype(np.float64) * scale + offset
    if given.order == "bgr":
        values = values[..., ::-1]
    tensor = given.tensor
    if tensor.quantisation is not None:
        codes = np.floor(values / tensor.quantisation.scale + 0.5 + _TIE) + tensor.quantisation.zero
        values = np.clip(codes, *code_range(tensor.dtype))
    if given.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[np.newaxis].astype(tensor.dtype))


def _class_ids(made: _Array, read: OutputReading, height: int, width: int) -> _Array:
    if read.kind == "class ids":
        return _nearest(made.reshape(read.height, read.width).astype(np.float64), height, width)
    if read.layout == "plane":
        scores = made.reshape(1, read.height, read.width)
    else:
        scores = made[0] if read.layout == "NCHW" else made[0].transpose(2, 0, 1)
    scores = _bilinear(scores.astype(np.float64), height, width)
    if read.kind == "threshold":
        return (scores[0] > read.threshold).astype(np.float64)
    return np.argmax(scores, axis=0).astype(np.float64)


def _nearest(plane: _Array, height: int, width: int) -> _Array:
    rows, columns = (
        np.floor((np.arange(wanted) + 0.5) * there / wanted).astype(int)
        for wanted, there in ((height, plane.shape[0]), (width, plane.shape[1]))
    )
    nearest: _Array = plane[rows[:, np.newaxis], columns]
    return nearest


def _bilinear(maps: _Array, height: int, width: int) -> _Array:
    """``[C, h, w]`` at another size, pixels being areas (half-pixel centres) and edges repeated."""
    for axis, wanted in ((1, height), (2, width)):
        there = maps.shape[axis]
        where = np.clip((np.arange(wanted) + 0.5) * there / wanted - 0.5, 0, there - 1)
        low = np.floor(where).astype(int)
        high = np.minimum(low + 1, there - 1)
        share = (where - low).reshape((-1, 1) if axis == 1 else (-1,))
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps
