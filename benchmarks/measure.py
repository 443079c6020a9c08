"""The benchmark of one or more models: latency first, then accuracy through the same process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

from edgeseg.benchmarks.conditions import Watch
from edgeseg.benchmarks.contenders import Choice, Contender
from edgeseg.benchmarks.frames import FrameSet
from edgeseg.benchmarks.host import Host, describe_host
from edgeseg.benchmarks.latency import Entrant, Options, Progress, entered, take_turns
from edgeseg.benchmarks.marks import marks_of
from edgeseg.benchmarks.protocol import Predict
from edgeseg.benchmarks.results import Accuracy, BenchmarkResult, ModelResult, Subject
from edgeseg.benchmarks.sensors.registry import Sensors, open_sensors
from edgeseg.benchmarks.sensors.report import sensor_report
from edgeseg.benchmarks.sensors.sampler import Recording, Sampler
from edgeseg.benchmarks.sustained import SustainedOptions, run_sustained
from edgeseg.benchmarks.sustained_results import Sustained
from edgeseg.errors import DataError, InferenceError, LatencyGateError
from edgeseg.evaluation import Sample, evaluate
from edgeseg.labels import LabelSet, Mask, require_same_classes
from edgeseg.resize import Image

ProgressBar = Callable[[str], AbstractContextManager[Progress]]
OnPartial = Callable[[BenchmarkResult], None]

_PARTIAL_SECONDS = 5.0
_SENSOR_PERIOD_S = 0.2


@contextmanager
def _no_bar(_description: str) -> Iterator[Progress]:
    yield lambda _finished, _total: None


def _keep_nothing(_partial: BenchmarkResult) -> None:
    """An :data:`OnPartial` that keeps nothing."""


@dataclass(frozen=True)
class LabelledSplit:
    """``count`` labelled samples to score on. ``samples`` gives them anew for each model."""

    dataset: str
    split: str
    labels: LabelSet
    count: int
    samples: Callable[[], Iterable[Sample]]


def benchmark_models(
    contenders: Sequence[Contender],
    frames: FrameSet,
    options: Options,
    *,
    command: str,
    labelled: LabelledSplit | None = None,
    sustained: SustainedOptions | None = None,
    host: Host | None = None,
    progress: ProgressBar = _no_bar,
    on_partial: OnPartial = _keep_nothing,
) -> BenchmarkResult:
    """Measure models beside one another.

    Args:
        command: The command line that asked for it, to be written with the result.
        labelled: Where given, every model is scored on it, after all latency has been measured.
        sustained: Where given, the machine is also loaded with each model for minutes.
        host: The machine, described before the caller's own work that must not count as its load; by default
            it is described now.
        progress: Opened with a description for each part of the work; what it gives is called with
            (finished, total).
        on_partial: Called with what is known so far every few seconds, so that a run that is killed leaves
            something behind.

    Raises:
        DataError: The labelled split's classes are not a model's.
        BundleError: A bundle cannot be used.
        InferenceError: A runtime failed on a frame before its first round was over, or a worker process died.
    """
    run = BenchmarkResult(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command,
        host=host or describe_host(),
        frames=frames.to_dict(),
        options=options.to_dict(),
        models=(),
        state="partial",
    )
    for contender in contenders:
        _check_labels(contender, labelled)
    with entered(contenders, frames, options) as entrants:
        for entrant in entrants:
            _check_classes(entrant, labelled)
        run = _with_versions(run, entrants)
        watch = Watch([entrant.worker.pid for entrant in entrants])
        keep = _Keeper(run, watch, entrants, options, on_partial)
        sensors = open_sensors()
        counted = f"{len(entrants)} model{'s' if len(entrants) > 1 else ''}"
        with progress(f"Timing {counted}") as advance, Sampler(sensors, _SENSOR_PERIOD_S) as sampler:
            take_turns(entrants, options, advance, keep)
        # Minutes of load and scoring are work of another kind: what the machine did is said of this alone.
        timed = _with_sensors(keep.result(), entrants, sampler.recording(), sensors)
        on_partial(timed)
        if sustained:
            timed = _with_sustained(timed, entrants, sustained, sensors, progress, on_partial)
            on_partial(timed)
        return _with_scores(timed, entrants, labelled, progress) if labelled else timed.completed()


def check_latency(result: BenchmarkResult, max_latency_ms: float) -> None:
    """The gate: every model's p99 of the whole path must not exceed ``max_latency_ms``.

    Raises:
        LatencyGateError: One is slower; the message names each that is.
    """
    slow = [
        f"{m.subject.name} {m.latency.total.p99:.2f} ms"
        for m in result.models
        if m.latency.total.p99 > max_latency_ms
    ]
    if slow:
        raise LatencyGateError(
            "--max-latency-ms",
            expected=f"a p99 of the whole path of at most {max_latency_ms:g} ms",
            found=", ".join(slow),
            next_step="Try a smaller --size, --precision int8 or another runtime, or allow more.",
        )


def check_complete(result: BenchmarkResult) -> None:
    """After everything was written: every model must have had all its rounds, and all its minutes of load.

    Raises:
        InferenceError: The process of one ended before.
    """
    failed = [f"{m.subject.name}: {m.latency.failure}" for m in result.models if m.latency.failure]
    ended = result.sustained.failures if result.sustained else {}
    failed += [f"{name}, sustained: {why}" for name, why in ended.items()]
    failed += [f"{name}, scored: {why}" for name, why in result.unscored.items()]
    if failed:
        raise InferenceError(
            "benchmark",
            expected="every model to run to the end",
            found="; ".join(failed),
            next_step="What was measured before is kept, and marked. Run it again with the others alone.",
        )


class _Keeper:
    """Makes results of what the entrants have so far, and hands one on every few seconds."""

    def __init__(
        self,
        run: BenchmarkResult,
        watch: Watch,
        entrants: Sequence[Entrant],
        options: Options,
        on_partial: OnPartial,
    ) -> None:
        self._run, self._watch, self._entrants, self._options = run, watch, entrants, options
        self._on_partial = on_partial
        self._last = float("-inf")
        # Once: a file may be large, and its bytes are those that were loaded.
        self._subjects = [entrant.contender.subject(entrant.opened) for entrant in entrants]

    def __call__(self) -> None:
        if time.monotonic() - self._last >= _PARTIAL_SECONDS:
            self._on_partial(self.result())
            self._last = time.monotonic()

    def result(self) -> BenchmarkResult:
        models = tuple(
            _model_result(entrant, subject, self._options)
            for entrant, subject in zip(self._entrants, self._subjects, strict=True)
        )
        conditions = self._watch.conditions()
        marks = marks_of(self._run.host, conditions, [(m.subject.name, m.latency) for m in models])
        return replace(self._run, models=models, conditions=conditions, marks=marks)


def _model_result(entrant: Entrant, subject: Subject, options: Options) -> ModelResult:
    contender = entrant.contender
    exported = contender.model_file(entrant.opened.loaded).measured if contender.bundle else None
    return ModelResult(subject, entrant.latency(options.stream), None, exported)


def _with_sensors(
    result: BenchmarkResult, entrants: Sequence[Entrant], recording: Recording, sensors: Sensors
) -> BenchmarkResult:
    reports = [sensor_report(recording, one.windows, one.frames, sensors) for one in entrants]
    models = [replace(m, sensors=report) for m, report in zip(result.models, reports, strict=True)]
    # They take turns, so what slowed the machine down slowed all of them: it is said once.
    marks = dict.fromkeys(mark for report in reports for mark in report.marks)
    return replace(result, models=tuple(models), marks=(*result.marks, *marks))


def _with_sustained(
    result: BenchmarkResult,
    entrants: Sequence[Entrant],
    options: SustainedOptions,
    sensors: Sensors,
    progress: ProgressBar,
    on_partial: OnPartial,
) -> BenchmarkResult:
    workers = {one.contender.name: one.worker for one in entrants if not one.failure}
    if not workers:
        return result

    def with_load(sustained: Sustained) -> BenchmarkResult:
        return replace(result, sustained=sustained, marks=(*result.marks, *sustained.marks))

    with progress("Sustained load") as advance:
        return with_load(
            run_sustained(workers, options, sensors, advance, lambda so_far: on_partial(with_load(so_far)))
        )


def _with_versions(run: BenchmarkResult, entrants: Sequence[Entrant]) -> BenchmarkResult:
    loaded = [entrant.opened.loaded for entrant in entrants]
    versions = {**run.host.versions, **{one.runtime: one.runtime_version for one in loaded}}
    return replace(run, host=replace(run.host, versions=versions))


def _with_scores(
    result: BenchmarkResult, entrants: Sequence[Entrant], labelled: LabelledSplit, progress: ProgressBar
) -> BenchmarkResult:
    """Of each entrant that still runs; where one runs with several numbers of threads, it is scored once."""
    known: dict[tuple[Path, str, Choice], Accuracy] = {}
    # Of a process that has died under load nothing can be asked.
    ended = result.sustained.failures if result.sustained else {}
    models: list[ModelResult] = []
    unscored: dict[str, str] = {}
    for model, entrant in zip(result.models, entrants, strict=True):
        contender = entrant.contender
        # One file in two precisions is two models.
        key = (contender.path, contender.loader, contender.choice)
        if entrant.failure is None and contender.name not in ended and key not in known:
            try:
                known[key] = _score(entrant, labelled, progress)
            except InferenceError as error:
                unscored[contender.name] = error.found
        models.append(replace(model, accuracy=known.get(key)))
    marks = [f"{name}: not scored: {why}" for name, why in unscored.items()]
    scored = replace(result, models=tuple(models), marks=(*result.marks, *marks), unscored=unscored)
    return scored.completed()


def _score(entrant: Entrant, labelled: LabelledSplit, progress: ProgressBar) -> Accuracy:
    def predict(image: Image) -> Mask:
        mask: Mask = entrant.worker.ask(Predict(image))
        return mask

    opened = entrant.opened
    with progress(f"Scoring {entrant.contender.path.name}") as advance:
        samples = _counted(labelled, advance)
        evaluation = evaluate(predict, samples, labelled.labels, opened.height, opened.width)
    return Accuracy(labelled.dataset, labelled.split, evaluation, labelled.labels)


def _counted(labelled: LabelledSplit, advance: Progress) -> Iterator[Sample]:
    for number, sample in enumerate(labelled.samples(), start=1):
        yield sample
        advance(number, labelled.count)


def _check_labels(contender: Contender, labelled: LabelledSplit | None) -> None:
    """Before anything is started, for a bundle says its classes."""
    if labelled and contender.bundle:
        subject = f"dataset {labelled.dataset} for {contender.path.name}"
        require_same_classes(contender.bundle.labels, labelled.labels, subject)


def _check_classes(entrant: Entrant, labelled: LabelledSplit | None) -> None:
    """Before anything is timed: a model file says no more than how many its classes are.

    One that gives class ids does not say even that, so it is given one image: ids that the data does not know
    are refused there.
    """
    classes = entrant.opened.classes
    if labelled and classes is None and not entrant.contender.bundle:
        _score(entrant, replace(labelled, count=1, samples=lambda: islice(labelled.samples(), 1)), _no_bar)
    if labelled and classes is not None and classes != len(labelled.labels):
        raise DataError(
            labelled.dataset,
            expected=f"{classes} classes, as many as {entrant.contender.path.name} gives",
            found=f"{len(labelled.labels)}: {', '.join(labelled.labels.names)}",
            next_step="Name the dataset, with the label set, that the model was trained on.",
        )
