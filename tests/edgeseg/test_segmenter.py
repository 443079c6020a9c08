"""One callable for any bundle: shapes, sizes, times, golden frames, files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.errors import GoldenMismatchError, InferenceError, UsageError
from edgeseg.resize import resize_image, resize_mask


@pytest.fixture
def segmenter(bundle: Path) -> Any:
    with edgeseg.load(bundle) as loaded:
        yield loaded


def test_mask_at_the_frames_size(segmenter: Any, frame: np.ndarray) -> None:
    result = segmenter(frame)
    expected = resize_image(frame, 32, 64).argmax(-1).astype(np.uint8)
    np.testing.assert_array_equal(result.model_mask, expected)
    np.testing.assert_array_equal(result.mask, resize_mask(expected, 64, 128))
    assert result.mask.dtype == np.uint8
    assert result.frame is frame
    assert result.valid
    assert result.confidence is None


@pytest.mark.parametrize("size", [(32, 64), (1, 1), (7, 3), (33, 65), (200, 100), (16, 128)])
def test_any_frame_size(segmenter: Any, size: tuple[int, int]) -> None:
    result = segmenter(np.full((*size, 3), (9, 200, 30), np.uint8))
    assert result.mask.shape == size
    assert (result.mask == 1).all()


def test_frames_that_are_views(segmenter: Any, frame: np.ndarray) -> None:
    mirrored = segmenter(frame[:, ::-1])
    np.testing.assert_array_equal(mirrored.mask, segmenter(frame[:, ::-1].copy()).mask)


def test_timings_and_age(segmenter: Any, frame: np.ndarray) -> None:
    captured = time.monotonic_ns() - 50_000_000
    result = segmenter(frame, captured_ns=captured)
    timings = result.timings
    assert 50 < result.age_ms < 5_000
    assert timings.total_ms == pytest.approx(timings.resize_ms + timings.infer_ms + timings.post_ms, abs=1e-3)
    assert result.finished_ns - result.captured_ns == pytest.approx(result.age_ms * 1e6)
    assert segmenter(frame).age_ms == pytest.approx(segmenter(frame).timings.total_ms, abs=50)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int8),
        np.zeros((0, 4, 3), np.uint8),
        [[1, 2, 3]],
        None,
    ],
)
def test_what_is_no_frame(segmenter: Any, bad: object) -> None:
    with pytest.raises(InferenceError, match="frame") as caught:
        segmenter(bad)
    assert caught.value.exit_code == 9


def test_an_open_bundle_is_taken_too(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    with edgeseg.load(opened) as segmenter:
        assert segmenter.bundle is opened
        assert (segmenter.height, segmenter.width) == (32, 64)
        assert segmenter.labels.names == ("red", "green", "blue")
        assert segmenter.runtime_name == "onnx"


def _wrong_golden(share: float) -> bytes:
    import io

    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3)).astype(np.uint8)
    masks = frames.argmax(-1).astype(np.uint8)
    masks[1].flat[: int(share * masks[1].size)] ^= 3
    file = io.BytesIO()
    np.savez_compressed(file, frames=frames, masks_fp32=masks)
    return file.getvalue()


def test_golden_frames_decide(make_bundle: Any) -> None:
    with edgeseg.load(make_bundle("almost", golden=_wrong_golden(0.0009))) as segmenter:
        assert 0.999 <= segmenter.self_test() < 1
    wrong = make_bundle("wrong", golden=_wrong_golden(0.01))
    with pytest.raises(GoldenMismatchError, match=r"model\.onnx") as caught:
        edgeseg.load(wrong)
    assert caught.value.exit_code == 8
    edgeseg.load(wrong, self_test=False).close()


def test_save_writes_ids_without_loss(segmenter: Any, frame: np.ndarray, tmp_path: Path) -> None:
    result = segmenter(frame)
    mask, overlay = result.save(tmp_path / "new" / "view.png")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["view.png", "view_overlay.jpg"]
    np.testing.assert_array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED), result.mask)
    picture = cv2.cvtColor(cv2.imread(str(overlay)), cv2.COLOR_BGR2RGB)
    assert np.abs(picture.astype(int) - result.overlay().astype(int)).mean() < 30
    with pytest.raises(UsageError, match=r"\.png"):
        result.save(tmp_path / "view.jpg")


def test_shares_of_the_picture(segmenter: Any) -> None:
    frame = np.zeros((32, 64, 3), np.uint8)
    frame[:, :16, 2] = 200
    assert segmenter(frame).shares() == {"red": 0.75, "blue": 0.25}


def test_a_note_says_what_is_still_to_be_built(make_bundle: Any) -> None:
    runtime = {"names": ("tensorrt", "onnx"), "verified_with": {}}
    build = {"state": "engine-not-built", "note": "Build the engine on the device."}
    with edgeseg.load(make_bundle("jetson", runtime=runtime, build=build)) as segmenter:
        assert segmenter.build_note == "onnx runs, not tensorrt: Build the engine on the device."
    with edgeseg.load(make_bundle("x86")) as segmenter:
        assert segmenter.build_note is None
