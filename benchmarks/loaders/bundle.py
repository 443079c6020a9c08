"""A bundle, through edgeseg: what a vehicle runs."""

from __future__ import annotations

import edgeseg.segmenter
from edgeseg.benchmarks.protocol import Job, Loaded
from edgeseg.labels import Mask
from edgeseg.resize import Image
from edgeseg.runtimes import RUNTIMES
from edgeseg.segmenter import Segmenter, Timings


class BundleRunner:
    """A :class:`~edgeseg.benchmarks.loaders.base.Runner` of a bundle."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.height, self.width = segmenter.height, segmenter.width
        self.classes = None

    @property
    def loaded(self) -> Loaded:
        segmenter = self._segmenter
        version = RUNTIMES[segmenter.runtime_name].version()
        model = segmenter.model
        return Loaded(
            segmenter.runtime_name,
            version or "unknown",
            model.file,
            model.precision,
            segmenter.threads,
            segmenter.computes_in,
        )

    def run(self, frame: Image) -> Timings:
        return self._segmenter(frame).timings

    def predict(self, image: Image) -> Mask:
        return self._segmenter.predict(image)

    def close(self) -> None:
        self._segmenter.close()


def open_runner(job: Job) -> BundleRunner:
    """Load it as the vehicle does, with every check and its golden self-test."""
    return BundleRunner(
        edgeseg.segmenter.load(
            job.model,
            runtime=job.runtime,
            threads=job.threads,
            precision=job.precision,
            trusted_keys=job.trusted_keys,
        )
    )
