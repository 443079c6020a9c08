"""All 35 raw ids of Cityscapes, in each of the three label sets, on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import LabelError
from edgeseg.labels import LabelSet
from edgeseg.training.data.cityscapes import CITYSCAPES7, CITYSCAPES8, CITYSCAPES19, RAW_LABELS

IGNORED = 255
# Written out from the paper's table, not from the code: raw id to class id, −1 first.
EIGHT = [7, *[0] * 7, *[1] * 4, *[2] * 6, *[3] * 4, 4, 4, 5, 6, 6, *[7] * 8]
SEVEN = [6, *[IGNORED] * 7, *[0] * 4, *[1] * 6, *[2] * 4, 3, 3, 4, 5, 5, *[6] * 8]
TRAINED = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12}
TRAINED |= {26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
NINETEEN = [TRAINED.get(raw, IGNORED) for raw in range(-1, 34)]


@pytest.mark.parametrize(
    ("labels", "expected"), [(CITYSCAPES8, EIGHT), (CITYSCAPES7, SEVEN), (CITYSCAPES19, NINETEEN)]
)
def test_every_raw_id_is_mapped(labels: LabelSet, expected: list[int]) -> None:
    raw = np.arange(-1, 34)[None]
    assert labels.encode_ids(raw).tolist() == [expected]


@pytest.mark.parametrize(("labels", "plate"), [(CITYSCAPES8, 7), (CITYSCAPES7, 6), (CITYSCAPES19, IGNORED)])
def test_a_licence_plate_that_wrapped_to_255_is_still_one(labels: LabelSet, plate: int) -> None:
    wrapped = np.array([[-1]]).astype(np.uint8)
    assert wrapped.tolist() == [[255]]
    assert labels.encode_ids(wrapped).tolist() == [[plate]]


@pytest.mark.parametrize("labels", [CITYSCAPES8, CITYSCAPES7, CITYSCAPES19])
@pytest.mark.parametrize("raw", [-2, 34, 128, 254])
def test_ids_that_cityscapes_does_not_have_are_refused(labels: LabelSet, raw: int) -> None:
    with pytest.raises(LabelError, match=f"ids {raw}"):
        labels.encode_ids(np.array([[raw]]))


def test_names_and_colours_are_the_official_ones() -> None:
    assert len(RAW_LABELS) == 35
    assert CITYSCAPES8.names == (
        "void",
        "flat",
        "construction",
        "object",
        "nature",
        "sky",
        "human",
        "vehicle",
    )
    assert CITYSCAPES7.names == CITYSCAPES8.names[1:]
    assert CITYSCAPES19.names[:3] == ("road", "sidewalk", "building")
    assert CITYSCAPES19.names[-3:] == ("train", "motorcycle", "bicycle")
    assert CITYSCAPES19.classes[13].color == (0, 0, 142)
