"""Times beside an independent harness's: what is read and how it is compared. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toys
from edgeseg.benchmarks.harnesses import (
    HARNESSES,
    STATISTICS,
    Turn,
    benchmark_app_statistics,
    harness_of,
    litert_statistics,
    profiled_times,
    statistics_of,
)
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.independent import Comparison
from edgeseg.benchmarks.independent_report import IndependentBenchmark, conclusions, rows, write_independent
from edgeseg.benchmarks.protocol import Loaded
from edgeseg.errors import InferenceError, UsageError

MODEL = Path("model.file")
HOST = Host("A CPU", 2, 8.0, "A system", "x86_64", "performance", 0.1, "3.11.7", {"edgeseg": "0.1.0"})
PACKAGES = {"onnx": "onnxruntime", "litert": "ai_edge_litert", "openvino": "openvino"}
GIVEN = {"onnx": set(STATISTICS), "litert": {"mean", "p50", "p95"}, "openvino": {"mean", "p50", "p90", "p99"}}


def test_percentiles_are_of_times_that_were_measured() -> None:
    found = statistics_of(np.arange(200, 0, -1, dtype=np.float64))
    assert found == {"mean": 100.5, "p50": 100, "p90": 180, "p95": 190, "p99": 198}


def test_what_litert_writes_is_read() -> None:
    latency = {"avg_ms": 3.5, "median_ms": 3.25, "p95_ms": 4.5, "min_ms": 3.0}
    assert litert_statistics({"latency": latency}, MODEL) == {"mean": 3.5, "p50": 3.25, "p95": 4.5}


def test_what_openvino_writes_is_read() -> None:
    results = {"latency (99 percentile) (ms)": "7.50", "avg latency": "6.25", "throughput": "160"}
    assert benchmark_app_statistics({"execution_results": results}, 99, MODEL) == {"mean": 6.25, "p99": 7.5}
    median = {"execution_results": {"latency (ms)": "6.00", "avg latency": "6.25"}}
    assert benchmark_app_statistics(median, 50, MODEL) == {"mean": 6.25, "p50": 6.0}


def test_what_onnx_runtime_writes_is_read() -> None:
    events = [
        {"name": "session_initialization", "dur": 900},
        {"name": "model_run", "dur": 1500},
        {"name": "conv_kernel_time", "dur": 1200},
        {"name": "model_run", "dur": 2500},
    ]
    assert profiled_times(events, 2, MODEL).tolist() == [1.5, 2.5]
    # Past a million events the profiler stops: percentiles of a part would be of another thing.
    with pytest.raises(InferenceError, match="2 of 3 runs"):
        profiled_times(events, 3, MODEL)


@pytest.mark.parametrize(
    ("read", "values"),
    [
        (litert_statistics, {"latency": {"avg_ms": 1.0}}),
        (litert_statistics, []),
        (lambda v, m: benchmark_app_statistics(v, 90, m), {"execution_results": {"avg latency": "1"}}),
        (lambda v, m: profiled_times(v, 1, m), [{"name": "model_run"}]),
        (lambda v, m: profiled_times(v, 1, m), ["model_run"]),
    ],
)
def test_a_result_of_another_form_is_an_error(read: Any, values: Any) -> None:
    with pytest.raises(InferenceError, match=r"model\.file"):
        read(values, MODEL)


@pytest.mark.parametrize("runtime", HARNESSES)
def test_each_harness_measures_a_real_file(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[runtime])
    bundle = toys.write_bundle(
        tmp_path / "toy.edgeseg", height=96, width=96, **toys.model_for(runtime, 96, 96)
    )
    model = next(path for path in bundle.iterdir() if path.suffix in (".onnx", ".tflite", ".xml"))
    found = harness_of(runtime).run(model, Turn(threads=1, warmup=3, runs=20))
    assert set(found) == GIVEN[runtime]
    assert all(value >= 0 for value in found.values())
    assert found["mean"] < 10_000


@pytest.mark.parametrize("runtime", HARNESSES)
def test_a_harness_that_fails_says_so(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(PACKAGES[runtime])
    broken = tmp_path / "broken.xml"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(InferenceError, match=r"broken\.xml.*own benchmark"):
        harness_of(runtime).run(broken, Turn(threads=1, warmup=0, runs=2))


def test_a_runtime_without_a_harness_is_refused() -> None:
    with pytest.raises(UsageError, match="tensorrt"):
        harness_of("tensorrt")


def comparison(*ratios: float, theirs: tuple[str, ...] = ("mean", "p50", "p95")) -> Comparison:
    """Ours is so many times theirs in each round; theirs is 10 ms in the mean, and 20 in each percentile."""
    told = {name: 10.0 if name == "mean" else 20.0 for name in theirs}
    ours = tuple({name: ratio * told.get(name, 20.0) for name in STATISTICS} for ratio in ratios)
    loaded = Loaded("litert", "2", "model.tflite", "int8", 2)
    return Comparison("street", loaded, "a harness", "It gives this.", ours, (told,) * len(ratios))


def test_ratios_are_of_the_medians_of_the_rounds() -> None:
    one = comparison(1.02, 1.04, 5.0)
    assert one.ratio("p50") == pytest.approx(1.04)
    assert one.ours_ms("p95") == pytest.approx(20.8)
    assert one.agrees
    assert one.shared == ("mean", "p50", "p95")


@pytest.mark.parametrize(("ratio", "agrees"), [(0.94, False), (0.96, True), (1.04, True), (1.06, False)])
def test_agreement_is_within_five_percent(ratio: float, agrees: bool) -> None:
    one = comparison(ratio)
    assert one.agrees is agrees
    [sentence] = conclusions([one])
    assert ("do not agree" not in sentence) is agrees
    assert f"{100 * (ratio - 1):+.1f} %" in sentence


def test_what_a_harness_does_not_tell_is_said() -> None:
    cells = {row[1]: row[2:] for row in rows([comparison(1.0)])}
    assert cells["p99"] == ["20.00", "not given", ""]
    assert cells["p50"] == ["20.00", "20.00", "1.000"]


def test_a_time_too_short_to_be_written_down_is_no_agreement() -> None:
    loaded = Loaded("litert", "2", "model.tflite", "int8", 2)
    ours = (dict.fromkeys(STATISTICS, 0.004),)
    one = Comparison("toy", loaded, "a harness", "", ours, ({"mean": 0.0, "p50": 0.0, "p95": 0.0},))
    assert not one.agrees
    assert "too fast" in conclusions([one])[0]
    assert one.to_dict()["statistics"]["p50"]["ratio"] is None


def test_it_is_written(tmp_path: Path) -> None:
    settings = {"frames": 1000, "rounds": 5, "warmup": 50, "threads": 2}
    result = IndependentBenchmark(
        "now", "edgeseg benchmark-independent A", HOST, settings, (comparison(1.01),)
    )
    write_independent(result, tmp_path / "independent")
    [written] = json.loads((tmp_path / "independent.json").read_text())["bundles"]
    assert written["agrees_within_5_percent"] is True
    assert written["statistics"]["p95"] == {"edgeseg_ms": 20.2, "harness_ms": 20.0, "ratio": 1.01}
    assert len(written["rounds"]["edgeseg_ms"]) == 1
    text = (tmp_path / "independent.md").read_text()
    assert "- a harness: It gives this." in text
    assert "| street (litert int8) | p95 | 20.20 | 20.00 | 1.010 |" in text


def test_the_verb_takes_turns_with_the_harness(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg", height=96, width=96)
    command = ["benchmark-independent", str(bundle), "--frames", "10", "--rounds", "3", "--warmup", "2"]
    command += ["--threads", "1", "--json", "--out", str(tmp_path / "out")]
    ran = subprocess.run(
        [sys.executable, "-m", "edgeseg", *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    written = json.loads(ran.stdout)
    assert written == json.loads((tmp_path / "out.json").read_text())
    [found] = written["bundles"]
    assert (found["runtime"], found["threads"], found["harness"]) == ("onnx", 1, "ONNX Runtime profiler")
    assert {side: len(rounds) for side, rounds in found["rounds"].items()} == {
        "edgeseg_ms": 3,
        "harness_ms": 3,
    }
    assert set(found["statistics"]) == set(STATISTICS)
    for name, values in found["statistics"].items():
        ours, theirs = (
            np.array([told[name] for told in found["rounds"][side]]) for side in ("edgeseg_ms", "harness_ms")
        )
        # What is written is rounded to a thousandth of a millisecond, of times of some hundredths.
        assert values["ratio"] == pytest.approx(np.median(ours / theirs), rel=0.1)
