"""Label sets: raw ids and colours to class ids, on purpose and never by accident."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import LabelError
from edgeseg.labels import IGNORE_INDEX, LabelClass, LabelSet

ROAD, CAR = LabelClass(0, "road", (128, 64, 128)), LabelClass(1, "car", (0, 0, 142))


def two_classes(**mapping: object) -> LabelSet:
    return LabelSet("two", (ROAD, CAR), **mapping)  # type: ignore[arg-type]


def test_names_and_length() -> None:
    assert (two_classes().names, len(two_classes())) == (("road", "car"), 2)


def test_without_a_mapping_the_ids_are_the_classes_and_ignore_stays() -> None:
    raw = np.array([[0, 1], [255, 0]], np.uint8)
    assert np.array_equal(two_classes().encode_ids(raw), raw)


def test_minus_one_and_255_are_different_raw_ids() -> None:
    labels = two_classes(raw_ids={-1: IGNORE_INDEX, 7: 0, 255: 1})
    encoded = labels.encode_ids(np.array([[-1, 7, 255]], np.int16))
    assert encoded.tolist() == [[255, 0, 1]]
    assert encoded.dtype == np.uint8


@pytest.mark.parametrize("raw", [-5, 3, 8, 300])
def test_an_id_that_is_not_mapped_is_named(raw: int) -> None:
    labels = two_classes(raw_ids={-1: 255, 7: 0, 9: 1})
    with pytest.raises(LabelError, match=f"frame.png.*ids {raw}"):
        labels.encode_ids(np.array([[7, raw]], np.int32), "frame.png")


def test_many_unmapped_ids_are_cut_short() -> None:
    with pytest.raises(LabelError, match=r"ids 2, 3, 4, 5, 6, 7, 8, 9, …"):
        two_classes().encode_ids(np.arange(40, dtype=np.uint8).reshape(1, -1))


def test_colours_to_ids() -> None:
    rgb = np.array([[ROAD.color, CAR.color, ROAD.color]], np.uint8)
    assert two_classes().encode_colors(rgb).tolist() == [[0, 1, 0]]


def test_colours_by_their_own_mapping() -> None:
    labels = two_classes(raw_colors={(0, 0, 0): 255, (255, 255, 255): 1})
    assert labels.encode_colors(np.array([[(255, 255, 255), (0, 0, 0)]], np.uint8)).tolist() == [[1, 255]]


@pytest.mark.parametrize("color", [(1, 2, 3), (255, 255, 255), (0, 0, 143)])
def test_a_colour_that_is_not_mapped_is_named(color: tuple[int, int, int]) -> None:
    with pytest.raises(LabelError) as caught:
        two_classes().encode_colors(np.array([[ROAD.color, color]], np.uint8), "mask.png")
    assert str(color) in str(caught.value)


def test_channels_are_not_mixed_up() -> None:
    labels = LabelSet("rb", (LabelClass(0, "red", (255, 0, 0)), LabelClass(1, "blue", (0, 0, 255))))
    assert labels.encode_colors(np.array([[(0, 0, 255), (255, 0, 0)]], np.uint8)).tolist() == [[1, 0]]


def test_colorize_is_the_inverse_and_ignored_is_black() -> None:
    picture = two_classes().colorize(np.array([[0, 1, 255]], np.uint8))
    assert picture.tolist() == [[list(ROAD.color), list(CAR.color), [0, 0, 0]]]


def test_round_trip_as_plain_values() -> None:
    labels = two_classes()
    assert LabelSet.from_dict(labels.to_dict()) == labels


def test_categories_are_the_datasets_own_and_are_not_stored() -> None:
    """What was written before them reads the same, and what is written now reads in older releases."""
    labels = two_classes(categories=("ground", "ground"))
    assert (labels.category_names, labels.category_ids) == (("ground",), (0, 0))
    assert labels.to_dict() == two_classes().to_dict()
    assert LabelSet.from_dict(labels.to_dict()).categories == ()
    three = LabelSet("three", (ROAD, CAR, LabelClass(2, "bus", (0, 60, 100))), categories=("b", "a", "b"))
    assert (three.category_names, three.category_ids) == (("b", "a"), (0, 1, 0))


def test_every_class_has_a_category_or_none_has() -> None:
    with pytest.raises(LabelError, match=r"category for each of its 2 classes.*found 1 categories"):
        two_classes(categories=("ground",))


@pytest.mark.parametrize("ids", [(), (1, 2), (0, 2), (0, 0)])
def test_class_ids_count_from_zero(ids: tuple[int, ...]) -> None:
    with pytest.raises(LabelError, match="ids 0, 1, 2"):
        LabelSet("bad", tuple(LabelClass(i, f"c{i}", (i, 0, 0)) for i in ids))


@pytest.mark.parametrize("ignore", [1, 256])
def test_ignore_index_is_no_class_and_fits_a_byte(ignore: int) -> None:
    with pytest.raises(LabelError, match="ignore index"):
        two_classes(ignore_index=ignore)


@pytest.mark.parametrize("raw", [-32769, 65536, 2**40])
def test_raw_ids_are_those_of_16_bits(raw: int) -> None:
    with pytest.raises(LabelError, match=f"raw ids from -32768 to 65535, found 1 outside, such as {raw}"):
        two_classes(raw_ids={0: 0, raw: 1})


def test_the_widest_raw_ids_are_read() -> None:
    labels = two_classes(raw_ids={-32768: 0, 65535: 1})
    assert labels.encode_ids(np.array([[65535, -32768]], np.int32)).tolist() == [[1, 0]]


def test_mapping_to_a_class_that_does_not_exist() -> None:
    with pytest.raises(LabelError, match=r"mapping to \[5\]"):
        two_classes(raw_ids={1: 5})
