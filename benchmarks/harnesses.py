"""The runtimes' own benchmarks, each started as a process of its own and read from what it writes.

No line of edgeseg times anything here: LiteRT and OpenVINO bring a whole benchmark, loop and clock; ONNX
Runtime's wheel brings its profiler alone, so that the loop around it is ours and the clock is not.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgeseg.benchmarks import onnx_profile
from edgeseg.benchmarks.summary import Times, nearest_rank
from edgeseg.errors import InferenceError, UsageError

Statistics = Mapping[str, float]
"""Some of ``STATISTICS``, in milliseconds; what a harness does not tell is not there."""

STATISTICS = ("mean", "p50", "p90", "p95", "p99")
_PERCENTILES = {"p50": 500, "p90": 900, "p95": 950, "p99": 990}


@dataclass(frozen=True)
class Turn:
    """What a harness is asked for.

    Args:
        threads: Threads of one inference.
        warmup: Untimed inferences before the others, where the harness lets one choose.
        runs: Timed inferences.
        computes_in: The numbers of float operations, as in :class:`edgeseg.Segmenter`.
    """

    threads: int
    warmup: int
    runs: int
    computes_in: str | None = None


class Harness(Protocol):
    """What measures a model file without edgeseg.

    Attributes:
        name: What it is called, and whose it is.
        gives: What it tells, and what of that is its own, in a sentence.
    """

    name: str
    gives: str

    def run(self, model: Path, turn: Turn) -> Statistics:
        """Load a model file in a process of its own and time it.

        Raises:
            InferenceError: The process failed, or wrote something else than it should.
        """


class LiteRTBenchmark:
    """``litert-benchmark``, of the wheel ``ai-edge-litert``."""

    name = "litert-benchmark"
    gives = (
        "LiteRT's own benchmark times each call of its compiled model on noise and tells mean, median and "
        "95th percentile of each process, to 0.01 ms; of 90 and 99 % it says nothing."
    )

    def run(self, model: Path, turn: Turn) -> Statistics:
        with tempfile.TemporaryDirectory() as folder:
            result = Path(folder, "result.json")
            arguments = [f"--model={model}", f"--num_threads={turn.threads}", f"--warmup_runs={turn.warmup}"]
            arguments += [f"--num_runs={turn.runs}", f"--result_json={result}"]
            said = _ran(["-m", "ai_edge_litert.tools.benchmark_litert_model", *arguments], model)
            return litert_statistics(_json(result, said, model), model)


class BenchmarkApp:
    """``benchmark_app``, of the wheel ``openvino``."""

    name = "benchmark_app"
    gives = (
        "OpenVINO's own benchmark runs one request at a time on noise and tells the mean and a single "
        "percentile of each process, to 0.01 ms; so each round starts one for 50, one for 90 and one for "
        "99 %. It warms up with one inference alone."
    )
    # Imported plainly, OpenVINO writes an identifier into the user's home folder and reports to its makers.
    _START = (
        "import sys; sys.modules['openvino_telemetry'] = None; "
        "from openvino.tools.benchmark.main import main; main()"
    )

    def run(self, model: Path, turn: Turn) -> Statistics:
        arguments = ["-m", str(model), "-d", "CPU", "-api", "sync", "-hint", "none", "-nstreams", "1"]
        arguments += ["-nthreads", str(turn.threads), "-pin", "NO", "-niter", str(turn.runs)]
        arguments += ["-infer_precision", turn.computes_in or "f32"]
        found: dict[str, float] = {}
        for percentile in (99, 90, 50):
            with tempfile.TemporaryDirectory() as folder:
                report = ["-report_type", "no_counters", "-report_folder", folder, "-json_stats"]
                asked = ["-latency_percentile", str(percentile)]
                said = _ran(["-c", self._START, *arguments, *asked, *report], model)
                values = _json(Path(folder, "benchmark_report.json"), said, model)
            # The mean that stays is that of the process that told the median.
            found |= benchmark_app_statistics(values, percentile, model)
        return found


class OnnxProfiler:
    """ONNX Runtime's profiler; its wheel holds no benchmark."""

    name = "ONNX Runtime profiler"
    gives = (
        "ONNX Runtime's own clock, its profiler's time of each whole run, in a plain loop on noise: every "
        "statistic. The profiler writes down every operation too, which costs it a little."
    )

    def run(self, model: Path, turn: Turn) -> Statistics:
        with tempfile.TemporaryDirectory() as folder:
            # By path, and not as a module: nothing of edgeseg is to be loaded there.
            script = str(Path(onnx_profile.__file__).resolve())
            runs = turn.warmup + turn.runs
            said = _ran([script, str(model), str(turn.threads), str(runs), folder], model)
            written = next(iter(sorted(Path(folder).glob("*.json"))), Path(folder, "profile.json"))
            return statistics_of(profiled_times(_json(written, said, model), runs, model)[turn.warmup :])


HARNESSES: dict[str, Harness] = {
    "litert": LiteRTBenchmark(),
    "onnx": OnnxProfiler(),
    "openvino": BenchmarkApp(),
}
"""Runtime to the harness that comes with it."""


def harness_of(runtime: str) -> Harness:
    """The harness of a runtime.

    Raises:
        UsageError: Its wheel brings none.
    """
    if runtime not in HARNESSES:
        raise UsageError(
            f"runtime {runtime!r}",
            expected=f"one with a harness of its own: {', '.join(HARNESSES)}",
            found="none that is known here",
            next_step="Name another with --runtime; of TensorRT, compare with trtexec by hand.",
        )
    return HARNESSES[runtime]


def statistics_of(times: Times) -> Statistics:
    """All of ``STATISTICS`` of a series of milliseconds ``float64 [N]``, percentiles by nearest rank."""
    ordered = np.sort(times)
    ranked = {name: nearest_rank(ordered, per_mille) for name, per_mille in _PERCENTILES.items()}
    return {"mean": float(ordered.mean()), **ranked}


def litert_statistics(values: Any, model: Path) -> Statistics:
    """What ``litert-benchmark`` wrote, in milliseconds."""
    keys = {"mean": "avg_ms", "p50": "median_ms", "p95": "p95_ms"}
    try:
        return {name: float(values["latency"][key]) for name, key in keys.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise _unread(model, f"a result without {error}") from error


def benchmark_app_statistics(values: Any, percentile: int, model: Path) -> Statistics:
    """What ``benchmark_app`` wrote of one percentile, in milliseconds."""
    key = "latency (ms)" if percentile == 50 else f"latency ({percentile} percentile) (ms)"
    try:
        results = values["execution_results"]
        return {"mean": float(results["avg latency"]), f"p{percentile}": float(results[key])}
    except (KeyError, TypeError, ValueError) as error:
        raise _unread(model, f"a report without {error}") from error


def profiled_times(events: Any, runs: int, model: Path) -> Times:
    """Milliseconds ``float64 [runs]`` of the runs in ONNX Runtime's profile, in their order.

    Raises:
        InferenceError: It does not hold exactly so many: past a million events the profiler stops writing.
    """
    try:
        times = [event["dur"] / 1000 for event in events if event.get("name") == "model_run"]
    except (AttributeError, KeyError, TypeError) as error:
        raise _unread(model, f"a profile of another form ({error})") from error
    if len(times) != runs:
        raise _unread(model, f"a profile of {len(times)} of {runs} runs; try fewer --frames")
    return np.asarray(times, np.float64)


def _ran(arguments: Sequence[str], model: Path) -> str:
    """Run this Python with these arguments to its end; what it said, for a message."""
    done = subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    last = (done.stdout.strip().splitlines() or ["nothing"])[-1]
    if done.returncode:
        raise _unread(model, f"it ended with code {done.returncode}: {last}")
    return last


def _json(path: Path, said: str, model: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unread(model, f"no result that can be read ({error}); it said: {said}") from error


def _unread(model: Path, found: str) -> InferenceError:
    return InferenceError(
        model,
        expected="its runtime's own benchmark to measure it",
        found=found,
        next_step="Try 'edgeseg benchmark' on it; this check needs the runtime's whole wheel.",
    )
