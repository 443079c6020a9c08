"""A whole benchmark: latency, and accuracy through the same runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toys
from edgeseg.benchmarks.frames import frames_from_golden
from edgeseg.benchmarks.latency import Options
from edgeseg.benchmarks.measure import LabelledSplit, benchmark_bundles, check_latency
from edgeseg.bundle import Bundle
from edgeseg.errors import DataError, LatencyGateError
from edgeseg.evaluation import Sample
from edgeseg.labels import LabelClass, LabelSet

pytest.importorskip("onnxruntime")
QUICK = Options(frames=4, rounds=2, warmup=1, threads=1, cold_starts=1)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.open(toys.write_bundle(tmp_path / "toy.edgeseg", height=32, width=32))


def test_accuracy_is_that_of_the_bundle_itself(bundle: Bundle) -> None:
    opened: list[str] = []

    @contextmanager
    def progress(description: str) -> Iterator[Callable[[int, int], None]]:
        opened.append(description)
        yield lambda _finished, _total: None

    result = benchmark_bundles(
        [bundle],
        frames_from_golden(bundle),
        QUICK,
        command="edgeseg benchmark toy",
        labelled=_labelled(bundle.labels),
        progress=progress,
    )
    [found] = result.bundles
    # The toy model is right by construction; a quarter of the truth was made wrong.
    assert found.accuracy is not None
    assert found.accuracy.evaluation.label_scores.pixel_accuracy == pytest.approx(0.75)
    assert opened == ["Timing 1 bundle", "Scoring toy.edgeseg"]
    assert result.host.versions["onnx"] == found.latency.loaded.runtime_version
    assert found.subject.digest == bundle.digest


def test_labels_of_another_set_are_refused_before_anything_is_timed(bundle: Bundle) -> None:
    other = LabelSet("other", (LabelClass(0, "road", (1, 2, 3)),))
    with pytest.raises(DataError, match="red, green, blue"):
        benchmark_bundles([bundle], frames_from_golden(bundle), QUICK, command="", labelled=_labelled(other))


def test_two_bundles_of_one_name_are_told_apart(tmp_path: Path) -> None:
    bundles = [Bundle.open(toys.write_bundle(tmp_path / folder / "toy.edgeseg")) for folder in ("a", "b")]
    result = benchmark_bundles(bundles, frames_from_golden(bundles[0]), QUICK, command="")
    assert [b.subject.name for b in result.bundles] == ["a/toy", "b/toy"]


def test_the_gate_is_on_the_p99_of_the_whole_path(make_result) -> None:
    result = make_result()
    fast, slow = sorted(bundle.latency.total.p99 for bundle in result.bundles)
    check_latency(result, slow)
    with pytest.raises(LatencyGateError, match="street-onnx-fp32") as caught:
        check_latency(result, (fast + slow) / 2)
    assert "street-litert-int8" not in str(caught.value)
    assert caught.value.exit_code == 6
    check_latency(replace(result, bundles=()), 0.0)


def _labelled(labels: LabelSet) -> LabelledSplit:
    def samples() -> Iterator[Sample]:
        image = np.random.default_rng(5).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        mask = np.argmax(image, axis=-1).astype(np.uint8)
        mask[:8] = (mask[:8] + 1) % 3
        yield Sample("one", image, mask)

    return LabelledSplit("drawn", "val", labels, 1, samples)
