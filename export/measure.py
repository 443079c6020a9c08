"""Running a bundle's models beside Keras, through the runtimes that the car uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from edgeseg.bundle import Bundle
from edgeseg.export.converter import quiet
from edgeseg.export.parity import Comparison, Reference, reference_of
from edgeseg.export.progress import Stage
from edgeseg.export.selection import spread
from edgeseg.export.source import Source
from edgeseg.segmenter import Segmenter, load


@contextmanager
def loaded(bundle: Bundle, *, self_test: bool) -> Iterator[dict[str, Segmenter]]:
    """A segmenter for each model file of a bundle, by file name.

    Raises:
        BundleError: A model cannot be loaded, or fails its golden self-test where one is asked for.
        RuntimeUnavailableError: None of the bundle's runtimes is installed.
    """
    with ExitStack() as opened:
        segmenters = {}
        for model in bundle.manifest.models:
            with quiet():
                segmenter = load(bundle, precision=model.precision, self_test=self_test)
            segmenters[model.file] = opened.enter_context(segmenter)
        yield segmenters


def keras_reference(source: Source, limit: int, stage: Stage) -> Reference:
    """The Keras model on at most ``limit`` samples, spread over the source's split.

    Raises:
        DataError: The split is empty, holds no labelled pixel or cannot be read.
    """
    from edgeseg.training.predictor import keras_predictor

    split, dataset = source.measured_on.split, source.dataset
    items = spread(dataset.items(split), limit)
    height, width = source.model.input_shape[1:3]
    with stage(f"Running Keras on {split}") as advance:
        return reference_of(
            keras_predictor(source.model),
            lambda: (dataset.read(item) for item in items),
            source.labels,
            (height, width),
            lambda finished: advance(finished, len(items)),
        )


def compare_with_keras(reference: Reference, segmenter: Segmenter, stage: Stage) -> Comparison:
    """A segmenter beside Keras, on the reference's samples."""
    with stage(f"Comparing {segmenter.model.file} with Keras") as advance:
        return reference.compare(segmenter.predict, advance)
