"""The benchmark of one or more bundles: latency first, then accuracy through the same runtime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edgeseg.benchmarks.frames import FrameSet
from edgeseg.benchmarks.host import describe_host
from edgeseg.benchmarks.latency import Latency, Options, Progress, measure_latency
from edgeseg.benchmarks.results import Accuracy, BenchmarkResult, BundleResult, Subject
from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import DataError, LatencyGateError
from edgeseg.evaluation import Sample, evaluate
from edgeseg.labels import LabelSet
from edgeseg.segmenter import load

ProgressBar = Callable[[str], AbstractContextManager[Progress]]


@contextmanager
def _no_bar(_description: str) -> Iterator[Progress]:
    yield lambda _finished, _total: None


@dataclass(frozen=True)
class LabelledSplit:
    """``count`` labelled samples to score on. ``samples`` gives them anew for each bundle."""

    dataset: str
    split: str
    labels: LabelSet
    count: int
    samples: Callable[[], Iterable[Sample]]


def benchmark_bundles(
    bundles: Sequence[Bundle],
    frames: FrameSet,
    options: Options,
    *,
    command: str,
    labelled: LabelledSplit | None = None,
    progress: ProgressBar = _no_bar,
) -> BenchmarkResult:
    """Measure opened bundles beside one another.

    Args:
        command: The command line that asked for it, to be written with the result.
        labelled: Where given, every bundle is scored on it, after all latency has been measured.
        progress: Opened with a description for each part of the work; what it gives is called with
            (finished, total).

    Raises:
        DataError: The labelled split's classes are not a bundle's.
        BundleError: A bundle cannot be used.
        InferenceError: A runtime failed on a frame, or a worker process died.
    """
    if labelled:
        for bundle in bundles:
            _check_labels(bundle, labelled)
    host = describe_host()
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with progress(f"Timing {len(bundles)} bundle{'s' if len(bundles) > 1 else ''}") as advance:
        latencies = measure_latency([bundle.path for bundle in bundles], frames, options, advance)
    results = [
        BundleResult(
            _subject(bundle, name, latency),
            latency,
            _score(bundle, labelled, latency, options.threads, progress) if labelled else None,
            _model_file(bundle, latency).parity,
        )
        for bundle, name, latency in zip(bundles, _names(bundles), latencies, strict=True)
    ]
    versions = {result.latency.loaded.runtime: result.latency.loaded.runtime_version for result in results}
    host = replace(host, versions={**host.versions, **versions})
    return BenchmarkResult(created, command, host, frames.to_dict(), options.to_dict(), tuple(results))


def check_latency(result: BenchmarkResult, max_latency_ms: float) -> None:
    """The gate: every bundle's p99 of the whole path must not exceed ``max_latency_ms``.

    Raises:
        LatencyGateError: One is slower; the message names each that is.
    """
    slow = [
        f"{b.subject.name} {b.latency.total.p99:.2f} ms"
        for b in result.bundles
        if b.latency.total.p99 > max_latency_ms
    ]
    if slow:
        raise LatencyGateError(
            "--max-latency-ms",
            expected=f"a p99 of the whole path of at most {max_latency_ms:g} ms",
            found=", ".join(slow),
            next_step="Try a smaller --size, --precision int8 or another runtime, or allow more.",
        )


def _score(
    bundle: Bundle, labelled: LabelledSplit, latency: Latency, threads: int, progress: ProgressBar
) -> Accuracy:
    loaded = latency.loaded
    with (
        load(bundle, runtime=loaded.runtime, threads=threads, precision=loaded.precision) as segmenter,
        progress(f"Scoring {bundle.path.name}") as advance,
    ):
        samples = _counted(labelled, advance)
        evaluation = evaluate(segmenter.predict, samples, labelled.labels, segmenter.height, segmenter.width)
    return Accuracy(labelled.dataset, labelled.split, evaluation, labelled.labels)


def _counted(labelled: LabelledSplit, advance: Progress) -> Iterator[Sample]:
    for number, sample in enumerate(labelled.samples(), start=1):
        yield sample
        advance(number, labelled.count)


def _check_labels(bundle: Bundle, labelled: LabelledSplit) -> None:
    if bundle.labels.names != labelled.labels.names:
        raise DataError(
            labelled.dataset,
            expected=f"the classes of {bundle.path.name}: {', '.join(bundle.labels.names)}",
            found=", ".join(labelled.labels.names),
            next_step="Name the dataset, with the label set, that the bundle was trained on.",
        )


def _subject(bundle: Bundle, name: str, latency: Latency) -> Subject:
    manifest = bundle.manifest
    size = bundle.model_size(_model_file(bundle, latency))
    return Subject(
        name=name,
        path=str(bundle.path),
        target=manifest.target,
        model=manifest.lineage.model,
        digest=bundle.digest,
        size_mib=round(size / 2**20, 3),
        height=manifest.input.height,
        width=manifest.input.width,
        build=manifest.build.state,
    )


def _model_file(bundle: Bundle, latency: Latency) -> ModelFile:
    return next(m for m in bundle.manifest.models if m.file == latency.loaded.model_file)


def _names(bundles: Sequence[Bundle]) -> list[str]:
    """Short names that differ: with the folder's, where two bundles are called the same."""
    stems = [bundle.path.resolve().stem for bundle in bundles]
    counts = Counter(stems)
    return [
        stem if counts[stem] == 1 else f"{bundle.path.resolve().parent.name}/{stem}"
        for bundle, stem in zip(bundles, stems, strict=True)
    ]
