"""The peers' files: made by each tool's own converter, and still the same network."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from edgeseg.benchmarks.contenders import Choice, Contender
from edgeseg.benchmarks.frames import frames_from_images
from edgeseg.benchmarks.latency import Options, entered
from edgeseg.benchmarks.loaders import loader_of
from edgeseg.benchmarks.protocol import Predict
from edgeseg.export.peers import peer_files
from edgeseg.export.progress import silent

KINDS = [
    ("litert", "fp32"), ("litert", "int8"), ("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"),
    ("openvino", "int8"), ("openvino", "bf16"),
]  # fmt: skip
AGREEMENT = {"fp32": 0.999, "bf16": 0.97, "int8": 0.9}


@pytest.mark.heavy
def test_every_tool_converts_the_model_and_its_file_gives_the_models_classes(
    model: keras.Model, frames: np.ndarray, tmp_path: Path
) -> None:
    files, failed = peer_files(model, frames[:8], tmp_path / "peers", silent)
    assert failed == []
    assert [(file.runtime, file.precision) for file in files] == KINDS
    truth = np.asarray(model(frames[8:12])).argmax(-1)
    options = Options(frames=1, rounds=1, warmup=0, threads=1, cold_starts=1)
    contenders = [
        Contender(str(kind), file.path, loader_of(file.path), 1, Choice(precision=file.precision))
        for kind, file in zip(KINDS, files, strict=True)
    ]
    with entered(contenders, frames_from_images(frames[:1], "scenes"), options) as entrants:
        for (runtime, precision), entrant in zip(KINDS, entrants, strict=True):
            assert (entrant.opened.loaded.runtime, entrant.opened.classes) == (runtime, truth.max() + 1)
            found = np.stack([entrant.worker.ask(Predict(frame)) for frame in frames[8:12]])
            assert (found == truth).mean() >= AGREEMENT[precision], (runtime, precision)


def test_a_tool_that_fails_is_left_out_and_said(
    model: keras.Model, frames: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise ValueError("no such operation")

    for name in ("_litert", "_onnx", "_onnx_int8", "_openvino"):
        monkeypatch.setattr(f"edgeseg.export.peers.{name}", fail)
    files, failed = peer_files(model, frames[:1], tmp_path, silent)
    assert files == []
    assert len(failed) == 6
    assert all("no such operation" in text for text in failed)
