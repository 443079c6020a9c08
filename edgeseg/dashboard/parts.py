"""What is handed to the page by those who know Keras, datasets and the benchmark: it imports none of them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from edgeseg.dashboard.model import Model
from edgeseg.evaluation import Sample
from edgeseg.labels import LabelSet


class LabelledData(Protocol):
    """A dataset, as far as looking at it goes."""

    @property
    def spec(self) -> str: ...

    @property
    def labels(self) -> LabelSet: ...

    @property
    def splits(self) -> Mapping[str, Sequence[Any]]: ...

    def items(self, split: str) -> Sequence[Any]:
        """The entries of a split, which have a ``name``; ``DataError`` where it is empty or faulty."""

    def read(self, item: Any) -> Sample:
        """Image and class map; ``DataError`` where they cannot be read or differ in size."""


@dataclass(frozen=True)
class Run:
    """A run folder. ``recipe`` and ``summary`` are empty where the run did not write them.

    Args:
        name: Its path below the folder of runs.
        rows: ``metrics.csv``, a line per epoch; shares are from 0 to 1.
        grids: Epoch to the picture of its predictions.
        confusion: The picture of its confusion matrix, where there is one.
        fault: What could not be read, in words.
    """

    name: str
    rows: Sequence[Mapping[str, float]]
    recipe: Mapping[str, Any]
    summary: Mapping[str, Any]
    grids: Mapping[int, Path]
    confusion: Path | None
    fault: str | None = None


@dataclass(frozen=True)
class Measured:
    """A model in a benchmark's result: what it was measured on, and what came of it.

    Args:
        file: The result's path below the folder of results.
        machine: The CPU and the frames: latencies compare within one.
        scored_on: What the accuracy is of: accuracies compare within one.
        miou: 0 to 1, ``None`` where it is not known.
        ms: ``p50``, ``p90``, ``p99``, ``p99.9`` and ``max`` of the whole path, in milliseconds.
        marks: What makes the numbers less than they seem.
    """

    file: str
    machine: str
    scored_on: str
    name: str
    runtime: str
    precision: str
    threads: int
    miou: float | None
    ms: Mapping[str, float]
    memory_mib: float | None
    marks: Sequence[str]


@dataclass(frozen=True)
class Results:
    """What a folder of results holds; ``faults`` are files that say they are benchmarks and do not parse."""

    measured: Sequence[Measured]
    faults: Sequence[str]


@dataclass(frozen=True)
class Palette:
    """The colours that every plot of the project shares: of series in order, and of precisions by name."""

    series: Sequence[str]
    precisions: Mapping[str, str]


@dataclass(frozen=True)
class Parts:
    """The functions handed in. Each raises an ``EdgesegError`` where it cannot do its work.

    Args:
        open_keras: A ``.keras`` file as a model.
        open_data: What ``--data`` says as a dataset.
        find_runs: The run folders below a folder.
        find_results: The benchmark results below a folder.
        pareto: Of each (milliseconds, mIoU or NaN), whether none other beats it.
        palette: The project's colours.
    """

    open_keras: Callable[[Path], Model]
    open_data: Callable[[str], LabelledData]
    find_runs: Callable[[Path], Sequence[Run]]
    find_results: Callable[[Path], Results]
    pareto: Callable[[Sequence[tuple[float, float]]], Sequence[bool]]
    palette: Palette


@dataclass(frozen=True)
class Settings:
    """What the page shows: the command line, on its way to Streamlit's script.

    ``parts`` is ``MODULE:FUNCTION``, which gives the :class:`Parts`.
    """

    parts: str
    models: tuple[str, ...] = ()
    data: str | None = None
    images: str | None = None
    runs: str | None = None
    results: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The inverse of :meth:`to_json`."""
        values = json.loads(text)
        return cls(**{**values, "models": tuple(values["models"])})

    def make_parts(self) -> Parts:
        module, _, function = self.parts.partition(":")
        made: Parts = getattr(importlib.import_module(module), function)()
        return made
