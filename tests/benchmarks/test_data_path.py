"""The plain generator against a reference, and how throughput is counted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.benchmarks.data_path import (
    Contender,
    DataPathResult,
    Throughput,
    measure_throughput,
    write_data_path,
)
from edgeseg.benchmarks.host import describe_host
from edgeseg.benchmarks.plain_generator import plain_generator
from edgeseg.errors import DataError
from edgeseg.labels import LabelClass, LabelSet

LABELS = LabelSet(
    "raw",
    (LabelClass(0, "road", (1, 1, 1)), LabelClass(1, "sky", (2, 2, 2))),
    raw_ids={-1: 255, 7: 0, 23: 1, 4: 255},
)


@pytest.fixture
def pairs(tmp_path: Path) -> list[tuple[Path, Path]]:
    generator = np.random.default_rng(2)
    made = []
    for index in range(5):
        image, mask = tmp_path / f"{index}.png", tmp_path / f"{index}_ids.png"
        cv2.imwrite(str(image), np.full((32, 64, 3), (10 * index, 0, 250), np.uint8))
        cv2.imwrite(str(mask), generator.choice(np.array([7, 23, 4, 255], np.uint8), (32, 64)))
        made.append((image, mask))
    return made


def test_each_image_comes_once_an_epoch_in_another_order(pairs: list[tuple[Path, Path]]) -> None:
    epoch = plain_generator(pairs, LABELS, 16, 16, batch_size=2)
    orders = []
    for number in (0, 1):
        batches = list(epoch(number))
        assert [len(images) for images, _ in batches] == [2, 2, 1]
        # The blue channel tells which image it is.
        orders.append([round(float(i[0, 0, 2]) * 25.5) for images, _ in batches for i in images])
    assert sorted(orders[0]) == sorted(orders[1]) == [0, 1, 2, 3, 4]
    assert orders[0] != orders[1]


def test_masks_are_one_hot_of_the_mapped_ids(pairs: list[tuple[Path, Path]]) -> None:
    [(images, masks)] = plain_generator(pairs[:1], LABELS, 32, 64, batch_size=4)(0)
    assert images.dtype == masks.dtype == np.float32
    assert images[0, 0, 0, 0] == pytest.approx(250 / 255)
    raw = cv2.imread(str(pairs[0][1]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(masks[0, ..., 0], raw == 7)
    assert np.array_equal(masks[0, ..., 1], raw == 23)
    assert masks.shape == (1, 32, 64, 2)


def test_a_file_that_does_not_decode_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    epoch = plain_generator([(tmp_path / "bad.png", tmp_path / "bad.png")], LABELS, 8, 8, 1)
    with pytest.raises(DataError, match=r"bad\.png"):
        next(epoch(0))


def test_the_first_epoch_is_not_counted() -> None:
    slow, fast = measure_throughput(
        [_contender("slow", 0.05), _contender("fast", 0.001)], rounds=2, min_seconds=0.02
    )
    # Epoch 0 sleeps half a second: had it been counted, the two would be alike.
    assert 5 < slow.median < 41
    assert fast.median > 2.5 * slow.median
    assert len(slow.rounds) == 2


def test_the_result_is_written_with_its_factors(tmp_path: Path) -> None:
    throughputs = (Throughput("plain", "decodes", (10.0, 20.0, 30.0)), Throughput("ours", "maps", (500.0,)))
    result = DataPathResult(
        "now", "edgeseg data benchmark", describe_host(), {"count": 3}, {"batch": 2}, 1.0, throughputs
    )
    write_data_path(result, tmp_path / "data-path")
    written = json.loads((tmp_path / "data-path.json").read_text())
    assert [contender["factor"] for contender in written["contenders"]] == [1.0, 25.0]
    assert "| ours | 500 | 500 | 500 | 25.0 |" in (tmp_path / "data-path.md").read_text()


def _contender(name: str, seconds: float) -> Contender:
    def epoch(number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for _ in range(4):
            time.sleep(seconds if number else 0.125)
            yield np.zeros((2, 1)), np.zeros((2, 1))

    return Contender(name, "sleeps", epoch)
