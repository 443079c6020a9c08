"""Latency of bare LiteRT files beside one another, in rounds that take turns.

For models that are not trained and so cannot be bundles: what runs is the inference alone, on noise. Bundles
are measured by :mod:`edgeseg.benchmarks.latency`, with all that comes before and after inference.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.benchmarks.latency import Options, Progress
from edgeseg.benchmarks.loaders.litert_file import open_interpreter
from edgeseg.benchmarks.protocol import Round
from edgeseg.benchmarks.summary import Summary, Times, summarise

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter


def measure_files(
    files: Mapping[str, Path], options: Options, on_progress: Progress | None = None
) -> dict[str, Summary]:
    """Milliseconds of one inference of each file.

    Args:
        files: Name to a ``.tflite`` file of one input. All are loaded at once, into this process.
        options: Of it, the frames, rounds, warm-up and threads count.
        on_progress: Called with (frames done, frames in all) after each turn.

    Raises:
        MissingExtraError: LiteRT is not installed.
        BundleError: A file cannot be loaded.
    """
    report = on_progress or (lambda _done, _total: None)
    loaded = {name: open_interpreter(path, options.threads) for name, path in files.items()}
    for interpreter in loaded.values():
        _fill(interpreter)
    times: dict[str, list[Times]] = {name: [] for name in loaded}
    done, total = 0, options.frames * len(loaded)
    for number, turn in enumerate(options.schedule()):
        # The first of one round is the last of the next, so that none always follows the same one.
        for name in sorted(loaded, reverse=bool(number % 2)):
            times[name].append(_timed(loaded[name], turn))
            done += turn.frames
            report(done, total)
    return {name: summarise(times[name]) for name in files}


def _fill(interpreter: Interpreter) -> None:
    given: dict[str, Any] = interpreter.get_input_details()[0]
    noise = np.random.default_rng(0).integers(0, 256, given["shape"])
    interpreter.set_tensor(given["index"], noise.astype(given["dtype"]))


def _timed(interpreter: Interpreter, turn: Round) -> Times:
    for _ in range(turn.warmup):
        interpreter.invoke()
    times = np.empty(turn.frames)
    for index in range(turn.frames):
        start = time.perf_counter_ns()
        interpreter.invoke()
        times[index] = (time.perf_counter_ns() - start) / 1e6
    return times
