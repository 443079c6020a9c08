"""How much of its mIoU a model keeps on spoilt pictures: the suite, run over several bundles at once.

Each image is spoilt once and given to every bundle, so that they are compared on the very same pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import edgeseg
from edgeseg.benchmarks.contenders import names_of
from edgeseg.benchmarks.corruptions import corrupt, corrupt_mask
from edgeseg.benchmarks.host import describe_host
from edgeseg.benchmarks.robustness.counts import Counter, Tally
from edgeseg.benchmarks.robustness.flicker import Flicker, check_source, measure_flicker
from edgeseg.benchmarks.robustness.partial import PartialFile
from edgeseg.benchmarks.robustness.plan import CLEAN, OWN_CHOICE, Cell, LabelledImages, Loading, Suite
from edgeseg.benchmarks.robustness.results import BundleRobustness, RobustnessResult
from edgeseg.bundle import Bundle
from edgeseg.errors import DataError
from edgeseg.evaluation import Sample
from edgeseg.labels import require_same_classes
from edgeseg.runtimes import RUNTIMES
from edgeseg.segmenter import Segmenter, load

Progress = Callable[[int, int], None]


def run_suite(
    bundles: Sequence[Bundle],
    images: LabelledImages,
    suite: Suite,
    folder: Path,
    *,
    command: str,
    loading: Loading = OWN_CHOICE,
    progress: Progress = lambda _finished, _total: None,
) -> RobustnessResult:
    """Run the suite, or what an earlier run in the same folder has left of it.

    Args:
        bundles: Opened bundles; the others are compared with the first.
        folder: Where finished cells are kept until the caller has written the result and removes them.
        command: The command line that asked for it, to be written with the result.
        progress: Called with (images done, images in all).

    Raises:
        DataError: There are no images, their classes are not a bundle's, or it finds nothing in clean ones.
        UsageError: The folder holds a part of another run.
        BundleError: A bundle cannot be used.
        InferenceError: A runtime failed on an image.
        SourceError: The video cannot be read.
    """
    _check(bundles, images)
    if suite.source is not None:
        check_source(suite.source)
    host = describe_host()
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    names = names_of([bundle.path for bundle in bundles])
    with ExitStack() as opened:
        segmenters = [opened.enter_context(_load(bundle, loading)) for bundle in bundles]
        partial = PartialFile(folder, _settings(segmenters, images, suite))
        steps = _Steps(segmenters, images, suite, partial, progress)
        tallies = {CLEAN: steps.tallies(CLEAN)}
        _check_clean(names, tallies[CLEAN])
        tallies |= {cell: steps.tallies(cell) for cell in suite.cells if cell != CLEAN}
        flickers = {cell: steps.flickers(cell) for cell in suite.flicker_cells}
        results = tuple(
            BundleRobustness.of(
                name,
                segmenter,
                {cell: of_all[i] for cell, of_all in tallies.items()},
                {cell: of_all[i] for cell, of_all in flickers.items()},
            )
            for i, (name, segmenter) in enumerate(zip(names, segmenters, strict=True))
        )
    return RobustnessResult(created, command, host, images, suite, loading.threads, results)


class _Steps:
    """The steps of a run: each is taken from the partial file, or done and kept there."""

    def __init__(
        self,
        segmenters: Sequence[Segmenter],
        images: LabelledImages,
        suite: Suite,
        partial: PartialFile,
        progress: Progress,
    ) -> None:
        self._segmenters, self._images, self._suite = segmenters, images, suite
        self._partial, self._progress = partial, progress
        self._done = 0
        self._total = len(suite.cells) * images.count + len(suite.flicker_cells) * suite.source_frames

    def tallies(self, cell: Cell) -> list[Tally]:
        """What each bundle did with the images of a cell."""
        kept = self._partial.get(str(cell))
        if kept is not None:
            self._advance(self._images.count)
            return [Tally.from_dict(values) for values in kept]
        counters = [Counter(self._images.labels) for _ in self._segmenters]
        for index, sample in enumerate(self._images.samples()):
            spoilt = _spoilt(sample, cell, self._suite.seed, index)
            for segmenter, counter in zip(self._segmenters, counters, strict=True):
                counter.add(segmenter(spoilt.image), spoilt.mask)
            self._advance(1)
        found = [counter.tally() for counter in counters]
        self._partial.keep(str(cell), [tally.to_dict() for tally in found])
        return found

    def flickers(self, cell: Cell) -> list[Flicker]:
        """How much each bundle's masks of the video flicker."""
        suite = self._suite
        step = f"flicker of {cell} in {suite.source_frames} frames of {suite.source}"
        found = self._partial.get(step)
        if found is None:
            measured = measure_flicker(
                self._segmenters, str(suite.source), cell, suite.seed, suite.source_frames
            )
            found = [flicker.to_dict() for flicker in measured]
            self._partial.keep(step, found)
        self._advance(suite.source_frames)
        return [Flicker(**values) for values in found]

    def _advance(self, images: int) -> None:
        self._done += images
        self._progress(self._done, self._total)


def _spoilt(sample: Sample, cell: Cell, seed: int, index: int) -> Sample:
    if cell == CLEAN:
        return sample
    how = {"seed": seed, "index": index}
    return Sample(
        sample.name,
        corrupt(sample.image, cell.corruption, cell.severity, **how),
        corrupt_mask(sample.mask, cell.corruption, cell.severity, **how),
    )


def _load(bundle: Bundle, loading: Loading) -> Segmenter:
    return load(bundle, runtime=loading.runtime, precision=loading.precision, threads=loading.threads)


def _check(bundles: Sequence[Bundle], images: LabelledImages) -> None:
    if not images.count:
        raise DataError(
            f"split {images.split!r} of {images.dataset}",
            expected="at least one labelled image",
            found="none",
            next_step="Name a split that holds images, and ask for one sample or more.",
        )
    for bundle in bundles:
        subject = f"dataset {images.dataset} for {bundle.path.name}"
        require_same_classes(bundle.labels, images.labels, subject)


def _check_clean(names: Sequence[str], tallies: Sequence[Tally]) -> None:
    for name, tally in zip(names, tallies, strict=True):
        miou = tally.scores.miou
        if not miou > 0:
            raise DataError(
                f"clean images with {name}",
                expected="an mIoU above 0, of which some can be kept",
                found="no pixel that counts" if np.isnan(miou) else "0",
                next_step="Check with 'edgeseg evaluate' that model, labels and images belong together.",
            )


def _settings(segmenters: Sequence[Segmenter], images: LabelledImages, suite: Suite) -> dict[str, Any]:
    """All that the numbers of a cell depend on. More corruptions or severities may be asked for later."""
    return {
        "bundles": [
            [s.bundle.digest, s.model.file, s.runtime_name, RUNTIMES[s.runtime_name].version()]
            for s in segmenters
        ],
        "images": [images.dataset, images.split, images.count, images.fingerprint],
        "seed": suite.seed,
        "versions": [edgeseg.__version__, np.__version__, cv2.__version__],
    }
