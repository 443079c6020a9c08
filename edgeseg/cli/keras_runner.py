"""``.keras`` files in the benchmark.

A worker process opens them by the name of these functions (:mod:`edgeseg.benchmarks.loaders`): what measures
imports no Keras, and what has Keras does not know what measures.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.cli.training_half import training_half

if TYPE_CHECKING:
    from edgeseg.benchmarks.loaders.base import FunctionRunner
    from edgeseg.benchmarks.protocol import Job
    from edgeseg.training.networks import Network

_WHAT = "measuring .keras files"


def open_runner(job: Job) -> FunctionRunner:
    """With ``Model.predict``.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
    """
    # As others run it, memory too.
    with training_half(_WHAT, as_others=True):
        from edgeseg.training.networks import predicting

    return _runner(job, "keras predict", predicting(Path(job.model), job.threads))


def open_tf_function(job: Job) -> FunctionRunner:
    """As one compiled function.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
    """
    # As others run it, memory too.
    with training_half(_WHAT, as_others=True):
        from edgeseg.training.networks import compiled

    return _runner(job, "tf.function", compiled(Path(job.model), job.threads))


def _runner(job: Job, name: str, network: Network) -> FunctionRunner:
    from edgeseg.benchmarks.loaders.base import FunctionRunner, Tensor
    from edgeseg.benchmarks.protocol import Loaded

    return FunctionRunner(
        job,
        Tensor(network.input_shape, network.input_dtype),
        Tensor(network.output_shape, network.output_dtype),
        network.call,
        Loaded(name, network.version, Path(job.model).name, "fp32", job.threads),
    )
