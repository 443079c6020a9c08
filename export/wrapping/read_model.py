"""A foreign model read by what its file and its owner say.

What the file says decides; what it cannot say is asked for. Nothing is guessed: a model that is read wrongly
runs at full speed and gives garbage.
"""

from __future__ import annotations

import numpy as np

from edgeseg.errors import UsageError
from edgeseg.export.wrapping.read_input import read_input
from edgeseg.export.wrapping.read_output import chosen_output, read_output
from edgeseg.export.wrapping.reading import Asked, Reading
from edgeseg.export.wrapping.tensors import PREFIX, RawModel
from edgeseg.labels import LabelSet


def read_model(raw: RawModel, asked: Asked, labels: LabelSet) -> Reading:
    """Read a model by what its file and its owner say, running it once to see the output's real shape.

    Raises:
        UsageError: It is no segmentation model, was wrapped before, or what must be known of it was not
            told or does not fit.
        DataError: The classes it gives are not as many as the labels.
    """
    if any(tensor.name.startswith(PREFIX) for tensor in raw.outputs):
        raise UsageError(
            raw.path,
            expected="a model as others made it",
            found="one that edgeseg has wrapped before",
            next_step="Wrap the file that it was made of.",
        )
    given = read_input(raw, asked)
    tensor = chosen_output(raw, asked)
    made = raw.run(np.zeros(given.shape, given.tensor.dtype), tensor)
    return Reading(given, read_output(raw.path, tensor.fixed(made.shape), given, asked, labels), len(labels))
