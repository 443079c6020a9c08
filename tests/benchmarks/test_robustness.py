"""The robustness suite: its numbers, that all bundles get the same pixels, and that a killed run goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks.calibration import calibration_of
from edgeseg.benchmarks.corruptions import CORRUPTIONS, corrupt, corrupt_mask
from edgeseg.benchmarks.robustness.flicker import measure_flicker
from edgeseg.benchmarks.robustness.markdown import by_corruption, summary, to_markdown
from edgeseg.benchmarks.robustness.partial import PARTIAL_FILE, PartialFile, remove_partial
from edgeseg.benchmarks.robustness.plan import CLEAN, Cell, LabelledImages, Suite
from edgeseg.benchmarks.robustness.report import write_numbers, write_pictures
from edgeseg.benchmarks.robustness.results import RobustnessResult
from edgeseg.benchmarks.robustness.run import run_suite
from edgeseg.bundle import Bundle
from edgeseg.errors import DataError, SourceError, UnknownNameError, UsageError
from edgeseg.evaluation import Sample
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.resize import resize_image, resize_mask

pytest.importorskip("onnxruntime")
LABELS = LabelSet(
    "channels", tuple(LabelClass(i, name, color) for i, (name, color) in enumerate(toys.CLASSES))
)
SIZE = (64, 128)
QUICK = Suite(("gaussian_noise", "elastic", "contrast"), (1, 5), seed=3)


@pytest.fixture
def images() -> LabelledImages:
    samples = [_sample(index) for index in range(3)]
    return LabelledImages("drawn", "val", LABELS, len(samples), "f" * 8, lambda: iter(samples))


@pytest.fixture
def bundles(tmp_path: Path) -> list[Bundle]:
    kinds = {"sure": "mask+confidence", "plain": "mask"}
    return [Bundle.open(toys.write_bundle(tmp_path / f"{n}.edgeseg", output=o)) for n, o in kinds.items()]


def test_retained_is_what_numpy_makes_of_the_same_pixels(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    result = _run(bundles, images, tmp_path)
    clean = _miou_by_hand(images, CLEAN)
    for cell in result.suite.cells:
        for bundle in result.bundles:
            assert bundle.miou(cell) == pytest.approx(_miou_by_hand(images, cell))
            assert bundle.retained(cell) == pytest.approx(_miou_by_hand(images, cell) / clean)
    assert result.bundles[0].retained(Cell("contrast", 5)) < 0.98
    mean = np.mean([_miou_by_hand(images, cell) / clean for cell in result.suite.cells if cell != CLEAN])
    assert result.bundles[0].mean_retained() == pytest.approx(mean)
    assert summary(result).rows[1][5] == "+0.00"


def test_bundles_get_the_same_pixels(bundles: list[Bundle], images: LabelledImages, tmp_path: Path) -> None:
    first, second = _run(bundles, images, tmp_path).bundles
    for cell, tally in first.tallies.items():
        assert np.array_equal(tally.matrix, second.tallies[cell].matrix)


def test_calibration_is_of_the_bundles_that_say_how_sure_they_are(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    result = _run(bundles, images, tmp_path)
    sure, plain = result.bundles
    assert result.calibrated == [sure]
    assert plain.calibration(plain.cells) is None
    clean, corrupted = sure.calibration([CLEAN]), sure.calibration(sure.cells)
    assert clean is not None
    assert corrupted is not None
    # Of the model's 32 rows two are ignored; the waves move a few of them.
    assert clean.pixels == 3 * 30 * 64
    assert corrupted.pixels == pytest.approx(6 * clean.pixels, rel=0.01)
    # Where the softmax lies on the edge of a level, its last bit decides.
    assert clean.ece == pytest.approx(_error_by_hand(images), rel=1e-3)
    together = calibration_of(sum(sure.tallies[cell].confidences for cell in sure.cells))
    assert (corrupted.ece, corrupted.mean_confidence) == (together.ece, together.mean_confidence)
    assert corrupted.ece != clean.ece
    written = result.to_dict()["bundles"]
    assert written[0]["clean"]["calibration"]["ece"] == clean.ece
    assert written[1]["clean"]["calibration"] == "not measured"


def test_the_same_command_twice_gives_the_same(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    first, second = (_run(bundles, images, tmp_path / name).to_dict() for name in ("a", "b"))
    assert first["bundles"] == second["bundles"]
    other = _run(bundles, images, tmp_path / "c", replace(QUICK, seed=4)).to_dict()
    assert first["bundles"] != other["bundles"]


def test_finished_cells_are_not_repeated(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    read: list[str] = []

    def counted() -> Iterator[Sample]:
        for sample in images.samples():
            read.append(sample.name)
            yield sample

    watched = replace(images, samples=counted)
    _run(bundles, watched, tmp_path, replace(QUICK, corruptions=("contrast",)))
    assert len(read) == 3 * 3
    finished: list[tuple[int, int]] = []
    again = _run(bundles, watched, tmp_path, on_progress=lambda *done: finished.append(done))
    # Two corruptions at two severities were new.
    assert len(read) == 3 * 3 + 4 * 3
    assert again.to_dict()["bundles"] == _run(bundles, images, tmp_path / "new").to_dict()["bundles"]
    assert finished[-1] == (21, 21)
    assert all(before[0] < after[0] for before, after in pairwise(finished))
    remove_partial(tmp_path)
    _run(bundles, watched, tmp_path)
    assert len(read) == 3 * 3 + 4 * 3 + 7 * 3


def test_a_part_of_another_run_is_refused(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    _run(bundles, images, tmp_path)
    for other, said in (
        (lambda: _run(bundles[:1], images, tmp_path), "other bundles"),
        (lambda: _run(bundles, images, tmp_path, replace(QUICK, seed=9)), "other seed"),
        (lambda: _run(bundles, replace(images, fingerprint="0"), tmp_path), "other images"),
    ):
        with pytest.raises(UsageError, match=said):
            other()
    (tmp_path / PARTIAL_FILE).write_text('{"state": "par')
    with pytest.raises(UsageError, match="Delete the file, or name another --out"):
        _run(bundles, images, tmp_path)


def test_the_partial_file_says_that_it_is_one(tmp_path: Path) -> None:
    partial = PartialFile(tmp_path, {"seed": 1, "images": ("a", 2)})
    assert partial.get("fog:1") is None
    partial.keep("fog:1", [1, 2])
    assert json.loads((tmp_path / PARTIAL_FILE).read_text())["state"] == "partial"
    assert PartialFile(tmp_path, {"seed": 1, "images": ("a", 2)}).get("fog:1") == [1, 2]


def test_what_cannot_be_run_is_refused(bundles: list[Bundle], images: LabelledImages, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split 'val' of drawn: expected at least one"):
        _run(bundles, replace(images, count=0), tmp_path)
    other = LabelSet(
        "other", tuple(LabelClass(i, n, (i, i, i)) for i, n in enumerate(("sky", "road", "car")))
    )
    with pytest.raises(
        DataError, match=r"drawn for sure\.edgeseg: expected the model's classes: red, green, blue"
    ):
        _run(bundles, replace(images, labels=other), tmp_path)
    ignored = [replace(s, mask=np.full(SIZE, 255, np.uint8)) for s in images.samples()]
    with pytest.raises(DataError, match="clean images with sure: expected an mIoU above 0"):
        _run(bundles, replace(images, samples=lambda: iter(ignored)), tmp_path / "ignored")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"corruptions": ("fog", "rain")},
            UnknownNameError,
            "corruption 'rain': expected one of gaussian_noise",
        ),
        ({"corruptions": ()}, UsageError, "corruptions: expected one of"),
        ({"corruptions": ("fog", "fog")}, UsageError, "each of them once"),
        ({"severities": (1, 6)}, UsageError, "whole numbers from 1 to 5, found 6"),
        ({"severities": ()}, UsageError, "found none"),
    ],
)
def test_a_suite_that_is_none(changes: dict, error: type[UsageError], said: str) -> None:
    with pytest.raises(error, match=said):
        Suite(**changes)


def test_flicker_of_a_video(bundles: list[Bundle], images: LabelledImages, tmp_path: Path) -> None:
    video = toys.write_video(tmp_path / "drive.mp4", frames=12)
    suite = Suite(("gaussian_noise", "lens_dirt"), (2, 4, 5), source=str(video), source_frames=8)
    result = _run(bundles, images, tmp_path / "out", suite)
    flickers = result.bundles[0].flickers
    assert set(flickers) == {CLEAN, Cell("gaussian_noise", 4), Cell("lens_dirt", 4)}
    clean, noise, dirt = flickers.values()
    assert clean.frames == 8
    assert clean.changed == pytest.approx(_flicker_by_hand(video, 8))
    assert 0 < clean.changed < 0.1
    # Noise is another one in each frame; the dirt stays where it is.
    assert noise.changed > 5 * clean.changed
    assert noise.still > 0.2
    assert dirt.still < 0.1
    assert result.bundles[0].flickers == result.bundles[1].flickers
    again = _run(bundles, images, tmp_path / "out", suite)
    assert again.bundles[0].flickers == flickers
    assert "8 frames of drive.mp4" in to_markdown(result)


def test_sources_that_give_no_flicker(bundles: list[Bundle], images: LabelledImages, tmp_path: Path) -> None:
    one = toys.write_video(tmp_path / "one.mp4", frames=1)
    with pytest.raises(SourceError, match="at least two frames"):
        _run(bundles, images, tmp_path / "a", Suite(("jpeg",), (1,), source=str(one)))
    with pytest.raises(UsageError, match="at its own pace"):
        _run(bundles, images, tmp_path / "b", Suite(("jpeg",), (1,), source="synthetic://"))
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for number, rows in enumerate((32, 32, 40)):
        cv2.imwrite(str(mixed / f"{number}.png"), np.zeros((rows, 64, 3), np.uint8))
    with pytest.raises(SourceError, match=r"one size, 64x32.*found one of 64x40"):
        measure_flicker([], str(mixed), CLEAN)


def test_a_source_that_cannot_be_used_is_told_before_the_first_image(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"none\.mp4"):
        _run(bundles, images, tmp_path / "out", Suite(("jpeg",), (1,), source=str(tmp_path / "none.mp4")))
    assert not (tmp_path / "out").exists()


def test_numbers_and_pictures(bundles: list[Bundle], images: LabelledImages, tmp_path: Path) -> None:
    result = _run(bundles, images, tmp_path)
    write_numbers(result, tmp_path)
    write_pictures(result, tmp_path)
    written = json.loads((tmp_path / "robustness.json").read_text())
    assert written == result.to_dict()
    assert [cell["corruption"] for cell in written["bundles"][0]["cells"]][::2] == list(QUICK.corruptions)
    markdown = (tmp_path / "robustness.md").read_text()
    assert "| contrast | digital |" in markdown
    assert "## Calibration" in markdown
    sheet = cv2.imread(str(tmp_path / "samples.jpg"))
    # Three strips of 160 rows, two pictures of 320 columns.
    assert sheet.shape == (3 * (160 + 26), 2 * 320 + 4, 3)
    for name in ("heat-map.png", "curves.png", "reliability.png"):
        assert cv2.imread(str(tmp_path / name)).std() > 5
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r"https?://", page)
    assert "<script" not in page
    assert page.count("data:image/png") == 3
    assert page.count("data:image/jpeg") == 3
    for anchor in re.findall(r'href="#([^"]*)"', page):
        assert f'id="{anchor}"' in page
    for text in (*by_corruption(result).rows[0], "thermal noise in low light", "real weather"):
        assert text in page


def test_one_bundle_without_confidence_makes_a_page(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    result = _run(bundles[1:], images, tmp_path)
    write_numbers(result, tmp_path)
    write_pictures(result, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "Calibration" not in page
    assert "Flicker" not in page
    assert not (tmp_path / "reliability.png").exists()


def test_every_corruption_runs_and_is_drawn(
    bundles: list[Bundle], images: LabelledImages, tmp_path: Path
) -> None:
    result = _run(bundles, images, tmp_path, Suite(severities=(5,)))
    write_pictures(result, tmp_path)
    page = (tmp_path / "report.html").read_text()
    for name, corruption in CORRUPTIONS.items():
        assert name in page
        assert corruption.shows in page


def _run(
    bundles: list[Bundle],
    images: LabelledImages,
    folder: Path,
    suite: Suite = QUICK,
    on_progress=lambda *_: None,
) -> RobustnessResult:
    return run_suite(bundles, images, suite, folder, command="edgeseg …", progress=on_progress)


def _sample(index: int) -> Sample:
    """Blocks of colour: larger than a pixel, so that resizing and corruptions leave some of the classes."""
    random = np.random.default_rng(index)
    coarse = random.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3)).astype(np.uint8)
    image = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_NEAREST)
    mask = np.argmax(image, axis=-1).astype(np.uint8)
    # The truth is not all that the toy finds, and some of it is ignored.
    mask[: SIZE[0] // 4] = 1
    mask[-4:] = 255
    return Sample(str(index), image, mask)


def _spoilt(images: LabelledImages, cell: Cell) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for index, sample in enumerate(images.samples()):
        if cell == CLEAN:
            yield sample.image, sample.mask
        else:
            how = {"seed": QUICK.seed, "index": index}
            yield (
                corrupt(sample.image, cell.corruption, cell.severity, **how),
                corrupt_mask(sample.mask, cell.corruption, cell.severity, **how),
            )


def _miou_by_hand(images: LabelledImages, cell: Cell) -> float:
    truths, masks = [], []
    for image, mask in _spoilt(images, cell):
        small = np.argmax(resize_image(image, 32, 64), axis=-1).astype(np.uint8)
        truths.append(mask)
        masks.append(resize_mask(small, *SIZE))
    truth, mask = np.array(truths), np.array(masks)
    known = truth != 255
    ious = [
        np.sum((truth == i) & (mask == i)) / np.sum(known & ((truth == i) | (mask == i))) for i in range(3)
    ]
    return float(np.mean(ious))


def _error_by_hand(images: LabelledImages) -> float:
    """The ECE on clean images, in floats: the toy's confidence is the channels' softmax, cut to levels."""
    sure, right = [], []
    for image, mask in _spoilt(images, CLEAN):
        small = resize_image(image, 32, 64).astype(np.float64)
        truth = resize_mask(mask, 32, 64)
        softmax = np.exp(small - small.max(axis=-1, keepdims=True))
        top = np.floor(255 * (softmax.max(axis=-1) / softmax.sum(axis=-1)).astype(np.float32)) / 255
        known = truth != 255
        sure.append(top[known])
        right.append((np.argmax(small, axis=-1) == truth)[known])
    confidences, hits = np.concatenate(sure), np.concatenate(right)
    places = np.clip(np.ceil(np.round(confidences * 15, 6)).astype(int) - 1, 0, 14)
    gaps = [abs(np.sum(confidences[places == i]) - np.sum(hits[places == i])) for i in range(15)]
    return float(sum(gaps) / len(hits))


def _flicker_by_hand(video: Path, frames: int) -> float:
    pictures, _ = toys.read_frames(video)
    small = [np.argmax(resize_image(picture, 32, 64), axis=-1) for picture in pictures[:frames]]
    large = [resize_mask(mask.astype(np.uint8), 64, 128) for mask in small]
    return float(np.mean([np.mean(a != b) for a, b in pairwise(large)]))
