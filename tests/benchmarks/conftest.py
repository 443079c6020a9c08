"""A benchmark's result with every part filled in, without anything measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgeseg.benchmarks.contenders import Subject
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.latency import Latency, Options
from edgeseg.benchmarks.protocol import STAGES, ColdStart, Loaded, Memory
from edgeseg.benchmarks.results import Accuracy, BenchmarkResult, ModelResult
from edgeseg.benchmarks.summary import summarise
from edgeseg.bundle.manifest import Parity
from edgeseg.evaluation import Evaluation, ImageScore
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.metrics import scores_of

LABELS = LabelSet("street", (LabelClass(0, "road", (128, 64, 128)), LabelClass(1, "sky", (70, 130, 180))))
MakeResult = Callable[..., BenchmarkResult]


@pytest.fixture
def make_result() -> MakeResult:
    """``make_result(accuracy=True)``: two bundles, with times drawn from a fixed generator."""

    def make(accuracy: bool = True, frames: int = 1000) -> BenchmarkResult:
        bundles = (
            bundle_result("street-litert-int8", "litert", "int8", 13.0, 0.71 if accuracy else None),
            bundle_result("street-onnx-fp32", "onnx", "fp32", 44.0, 0.72 if accuracy else None),
        )
        host = Host("A CPU", 2, 8.0, "A system", "x86_64", "performance", 0.1, "3.11.7", {"edgeseg": "0.1.0"})
        drawn = {"origin": "drawn", "distinct_frames": 4, "size": "1280x720"}
        options = Options(frames=frames).to_dict()
        return BenchmarkResult(
            "2026-01-01T00:00:00+00:00", "edgeseg benchmark A B", host, drawn, options, bundles
        )

    return make


def bundle_result(
    name: str, runtime: str, precision: str, infer_ms: float, miou: float | None
) -> ModelResult:
    subject = Subject(name, f"{name}.edgeseg", "x86", "unet_mini", "0" * 64, 1.5, 256, 256, "complete")
    parity = Parity(
        runtime=runtime,
        samples=4,
        agreement=0.99,
        keras_miou=0.72,
        miou=0.715,
        drop_points=0.5,
        class_drop_points={"road": 0.1, "sky": None},
        max_drop_points=1.0,
    )
    return ModelResult(subject, latency(runtime, precision, infer_ms), _accuracy(miou), parity)


def latency(runtime: str, precision: str, infer_ms: float) -> Latency:
    generator = np.random.default_rng(7)
    means = dict(zip(STAGES, (4.0, 0.8, infer_ms, 0.3), strict=False))
    times = {stage: mean * (1 + generator.exponential(0.06, 1000)) for stage, mean in means.items()}
    times["total"] = sum(times.values(), np.zeros(1000))
    return Latency(
        loaded=Loaded(runtime, "2.3.0", "model.bin", precision, 2),
        stages={stage: summarise([values]) for stage, values in times.items()},
        round_p50=(infer_ms + 5, infer_ms + 5.1),
        cold_start=ColdStart(25, 150, 60, 20),
        cold_start_totals=(250.0, 255.0, 260.0),
        memory=Memory(101.5, 120.25),
    )


def _accuracy(miou: float | None) -> Accuracy | None:
    if miou is None:
        return None
    hit = round(1000 * 2 * miou / (1 + miou))
    matrix = np.array([[hit, 1000 - hit], [1000 - hit, hit]], np.int64)
    scores = scores_of(matrix)
    evaluation = Evaluation(2, scores, scores, matrix, matrix, (ImageScore("a", miou),))
    return Accuracy("street", "val", evaluation, LABELS)
