"""Fixtures of the vehicle half's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake_tensorrt import Rig
from toys import model_for, onnx_model, read_frames, tflite_model, write_bundle, write_video

MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """``make_bundle(name="toy", *, height=32, width=64, output="mask", **changes)`` writes a bundle.

    Its one ONNX model gives each pixel the class of its strongest channel: 0 red, 1 green, 2 blue, so that
    ``np.argmax(frame, axis=-1)`` is the truth. ``changes`` replace manifest fields; ``model`` the model's
    bytes; ``golden`` the golden archive's bytes.
    """

    def make(name: str = "toy", **options: Any) -> Path:
        return write_bundle(tmp_path / f"{name}.edgeseg", **options)

    return make


@pytest.fixture
def make_onnx() -> Callable[..., bytes]:
    """``make_onnx(height, width, output="mask", *, domain="")``: the toy model's bytes."""
    return onnx_model


@pytest.fixture
def make_tflite() -> Callable[..., bytes]:
    """``make_tflite(height, width, *, custom=None)``: the same graph for LiteRT."""
    return tflite_model


@pytest.fixture(params=["onnx", "litert", "openvino"])
def runtime_bundle(request: pytest.FixtureRequest, make_bundle: MakeBundle) -> Path:
    """The toy model as a bundle of each runtime."""
    return make_bundle(**model_for(request.param))


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle()


@pytest.fixture
def frame() -> np.ndarray:
    """A picture that is larger than the toy model's input, in its proportions."""
    return np.random.default_rng(3).integers(0, 256, (64, 128, 3)).astype(np.uint8)


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """``make_video(name="drive", *, frames=30, fps=25.0, height=64, width=128)`` writes an mp4."""

    def make(name: str = "drive", **options: Any) -> Path:
        return write_video(tmp_path / f"{name}.mp4", **options)

    return make


@pytest.fixture
def video(make_video: Callable[..., Path]) -> Path:
    return make_video()


@pytest.fixture
def read_video() -> Callable[[Path], tuple[list[np.ndarray], float]]:
    """``read_video(path)``: all frames RGB as OpenCV gives them, and the frame rate."""
    return read_frames


@pytest.fixture
def rig(tmp_path: Path, make_bundle: MakeBundle) -> Rig:
    """A device with a fake TensorRT, and a bundle for it."""
    names = {"names": ("tensorrt", "onnx"), "verified_with": {}}
    return Rig(tmp_path, make_bundle(runtime=names))
