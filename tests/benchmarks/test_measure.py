"""A whole benchmark: latency, and accuracy through the same runtime."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
from edgeseg.benchmarks import measure
from edgeseg.benchmarks.contenders import contenders_of
from edgeseg.benchmarks.frames import frames_from_golden
from edgeseg.benchmarks.latency import Entrant, Options, Progress
from edgeseg.benchmarks.measure import LabelledSplit, benchmark_models, check_complete, check_latency
from edgeseg.benchmarks.results import Accuracy
from edgeseg.benchmarks.sensors import Sensors, open_sensors
from edgeseg.benchmarks.sustained import SustainedOptions, run_sustained
from edgeseg.benchmarks.sustained_results import Sustained
from edgeseg.benchmarks.worker_process import Worker
from edgeseg.bundle import Bundle
from edgeseg.errors import DataError, InferenceError, LatencyGateError
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

    result = benchmark_models(
        contenders_of([bundle.path], [1]),
        frames_from_golden(bundle),
        QUICK,
        command="edgeseg benchmark toy",
        labelled=_labelled(bundle.labels),
        progress=progress,
    )
    [found] = result.models
    # The toy model is right by construction; a quarter of the truth was made wrong.
    assert found.accuracy is not None
    assert found.accuracy.evaluation.label_scores.pixel_accuracy == pytest.approx(0.75)
    assert opened == ["Timing 1 model", "Scoring toy.edgeseg"]
    assert result.host.versions["onnx"] == found.latency.loaded.runtime_version
    assert found.subject.digest == bundle.digest


def test_labels_of_another_set_are_refused_before_anything_is_timed(bundle: Bundle) -> None:
    other = LabelSet("other", (LabelClass(0, "road", (1, 2, 3)),))
    with pytest.raises(DataError, match="red, green, blue"):
        benchmark_models(
            contenders_of([bundle.path], [1]),
            frames_from_golden(bundle),
            QUICK,
            command="",
            labelled=_labelled(other),
        )


def test_one_that_dies_under_load_is_said_to_have_and_is_not_scored(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killing(
        workers: dict[str, Worker],
        options: SustainedOptions,
        sensors: Sensors,
        _progress: Progress,
        _kept: Any,
    ) -> Sustained:
        # Called after each point of the curves.
        return run_sustained(
            workers, options, sensors, lambda _done, _all: os.kill(workers["toy"].pid, signal.SIGKILL)
        )

    monkeypatch.setattr(measure, "run_sustained", killing)
    result = benchmark_models(
        contenders_of([bundle.path], [1]),
        frames_from_golden(bundle),
        QUICK,
        command="",
        labelled=_labelled(bundle.labels),
        sustained=SustainedOptions(minutes=0.1, idle_seconds=0),
    )
    assert (result.state, result.models[0].accuracy) == ("complete", None)
    with pytest.raises(InferenceError, match="toy, sustained: it ended with code -9"):
        check_complete(result)


def test_where_all_have_died_there_is_nothing_to_load(make_result, tmp_path: Path) -> None:
    result = make_result()
    loaded = measure._with_sustained(
        result, [], SustainedOptions(), open_sensors(tmp_path), measure._no_bar, measure._keep_nothing
    )
    assert loaded is result


def test_one_that_dies_while_it_is_scored_leaves_the_others_their_scores(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = measure._score

    def killing(entrant: Entrant, *given: Any) -> Accuracy:
        if entrant.contender.name == "toy":
            os.kill(entrant.worker.pid, signal.SIGKILL)
        return score(entrant, *given)

    monkeypatch.setattr(measure, "_score", killing)
    other = toys.write_bundle(bundle.path.with_name("other.edgeseg"), height=32, width=32)
    result = benchmark_models(
        contenders_of([bundle.path, other], [1]),
        frames_from_golden(bundle),
        QUICK,
        command="",
        labelled=_labelled(bundle.labels),
    )
    died, well = result.models
    assert died.accuracy is None
    assert well.accuracy is not None
    assert "toy: not scored: it ended with code -9" in result.marks
    with pytest.raises(InferenceError, match="toy, scored: it ended with code -9"):
        check_complete(result)


def test_class_ids_that_the_data_does_not_know_are_refused_before_anything_is_timed(tmp_path: Path) -> None:
    """A foreign file whose argmax is in its graph does not say how many its classes are."""
    bundle = Bundle.open(toys.write_bundle(tmp_path / "toy.edgeseg", height=32, width=32))
    file = next(bundle.path.glob("*.onnx"))
    two = LabelSet("two", (LabelClass(0, "red", (255, 0, 0)), LabelClass(1, "green", (0, 255, 0))))
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 2] = 255
    samples = [Sample("blue", image, np.zeros((32, 32), np.uint8))]
    timed: list[str] = []

    @contextmanager
    def progress(description: str) -> Iterator[Callable[[int, int], None]]:
        timed.append(description)
        yield lambda _finished, _total: None

    with pytest.raises(InferenceError, match="class ids from 0 to 1"):
        benchmark_models(
            contenders_of([file], [1]),
            frames_from_golden(bundle),
            QUICK,
            command="",
            labelled=LabelledSplit("two", "val", two, 1, lambda: samples),
            progress=progress,
        )
    assert timed == []


def test_two_bundles_of_one_name_are_told_apart(tmp_path: Path) -> None:
    bundles = [toys.write_bundle(tmp_path / folder / "toy.edgeseg") for folder in ("a", "b")]
    assert [one.name for one in contenders_of(bundles, [1])] == ["a/toy.edgeseg", "b/toy.edgeseg"]
    assert len({one.name for one in contenders_of([*bundles, bundles[0]], [1, 2])}) == 6


def test_the_gate_is_on_the_p99_of_the_whole_path(make_result) -> None:
    result = make_result()
    fast, slow = sorted(bundle.latency.total.p99 for bundle in result.models)
    check_latency(result, slow)
    with pytest.raises(LatencyGateError, match="street-onnx-fp32") as caught:
        check_latency(result, (fast + slow) / 2)
    assert "street-litert-int8" not in str(caught.value)
    assert caught.value.exit_code == 6
    check_latency(replace(result, models=()), 0.0)


def _labelled(labels: LabelSet) -> LabelledSplit:
    def samples() -> Iterator[Sample]:
        image = np.random.default_rng(5).integers(0, 256, (32, 32, 3)).astype(np.uint8)
        mask = np.argmax(image, axis=-1).astype(np.uint8)
        mask[:8] = (mask[:8] + 1) % 3
        yield Sample("one", image, mask)

    return LabelledSplit("drawn", "val", labels, 1, samples)
