"""Training on a Ray cluster: Ray Train starts the workers, which then train as those of ``--workers`` do.

``TensorflowTrainer`` puts one process on each machine and tells it of the others in ``TF_CONFIG``, which
:func:`edgeseg.training.distributed.connect` reads. Nothing else of Ray Train is used: its Keras callbacks
are of Keras 2, and so is the ``TF_USE_LEGACY_KERAS`` that it sets.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.atomic import writing
from edgeseg.errors import EdgesegError, MissingExtraError, TrainingError, UsageError
from edgeseg.ray_connection import ray_connection
from edgeseg.training.documents import read_json
from edgeseg.training.run_folder import RunFolder

if TYPE_CHECKING:
    from types import ModuleType

    from edgeseg.training.fit import TrainResult
    from edgeseg.training.observer import Observer
    from edgeseg.training.recipe import Recipe


@dataclass(frozen=True)
class RayRun:
    """What every worker does.

    Args:
        recipe: To train from the start, or ``None`` to continue the run in ``folder``.
        folder: The run folder, absolute, on storage that every machine mounts at the same path.
        observers: Told how it goes, by the first worker.
    """

    recipe: Recipe | None
    folder: Path
    observers: Sequence[Observer] = ()


def train_on_ray(address: str, workers: int | None, run: RayRun) -> TrainResult:
    """Train with ``workers`` processes on a cluster.

    Without ``workers`` there is one for each GPU, or for each machine where there is no GPU.

    Each is put on a machine of its own while there are enough, and takes one GPU where the cluster has as
    many.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers, or it has room for fewer workers.
        TrainingError: A worker was lost, or the run folder is on storage that this machine does not see.
        EdgesegError: What a worker raised, as of :func:`edgeseg.training.fit.train`.
    """
    run = run if run.recipe is None else replace(run, folder=_free(run.folder))
    # Read as Ray is imported; the older one cannot say what a worker raised.
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with ray_connection(address) as ray, _shared_scratch(run.folder.parent) as scratch:
        number, gpu = _room(ray, workers)
        try:
            from ray.train import RunConfig, ScalingConfig
            from ray.train.tensorflow import TensorflowTrainer
            from ray.train.v2.api.exceptions import TrainingFailedError
        except ImportError as error:
            raise MissingExtraError.of("--ray", "ray[train]", "scale") from error
        trainer = TensorflowTrainer(
            _work,
            train_loop_config={"run": run},
            scaling_config=ScalingConfig(num_workers=number, use_gpu=gpu, placement_strategy="SPREAD"),
            run_config=RunConfig(name=run.folder.name, storage_path=scratch),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise _said(error) from error
    return _result(RunFolder(run.folder))


@contextmanager
def _shared_scratch(folder: Path) -> Iterator[str]:
    """What Ray Train wants for itself, and looks for on every machine; it is thrown away."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=".edgeseg-ray-", dir=folder, ignore_cleanup_errors=True)
    with scratch as name:
        yield name


def _free(wanted: Path) -> Path:
    """The name that ``RunFolder.create`` will find: Ray Train hands nothing back without a checkpoint."""
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in count(1))
    return next(path for path in names if not path.exists())


def _result(folder: RunFolder) -> TrainResult:
    """What the first worker wrote, which this machine has to see."""
    from edgeseg.training.fit import TrainResult
    from edgeseg.training.recipe import make_recipe, read_recipe

    again = "Go on with --resume: it is made again."
    summary = read_json(folder.summary, "the JSON that edgeseg wrote", again)
    if summary is None:
        raise TrainingError(
            folder.path,
            expected="the run folder, on this machine too",
            found="nothing there",
            next_step="Give --out on storage that every machine mounts at the same path.",
        )
    recipe = make_recipe(read_recipe(folder.recipe))
    return TrainResult(folder, recipe, tuple(folder.read_rows()), summary)


def _work(config: dict[str, Any]) -> None:
    """What runs on a worker."""
    # Of Keras 2, for which Ray Train sets it.
    os.environ.pop("TF_USE_LEGACY_KERAS", None)
    from edgeseg.training.distributed import connect
    from edgeseg.training.fit import resume, train

    run: RayRun = config["run"]
    cluster = connect()
    observers = run.observers if cluster.is_chief else ()
    with cluster.watched(), cluster.run_folder(run.folder) as own:
        begin = partial(train, run.recipe) if run.recipe else resume
        begin(own, observers, cluster)


def _room(ray: ModuleType, workers: int | None) -> tuple[int, bool]:
    """How many workers, and whether each gets a GPU."""
    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    workers = workers or gpus or sum(node["Alive"] for node in ray.nodes())
    if cores < workers:
        raise UsageError(
            "--ray-workers",
            expected=f"at most the {cores} cores of the cluster",
            found=str(workers),
            next_step="Give fewer, or wait for more machines: Ray itself would wait without end.",
        )
    return workers, gpus >= workers


def _said(failure: Exception) -> EdgesegError:
    """The first worker's own error where it gave one, else Ray's."""
    failures = getattr(failure, "worker_failures", {})
    raised = [getattr(failures[rank], "_base_exc", failures[rank]) for rank in sorted(failures)]
    # A worker that lost another one says so; the other one may say why.
    ours = [error for error in raised if isinstance(error, EdgesegError)]
    causes = [error for error in ours if "no longer answers" not in error.found]
    if ours:
        return [*causes, *ours][0]
    return TrainingError(
        "--ray",
        expected="every worker to finish",
        found=" ".join(str(raised[0] if raised else failure).split())[-300:],
        next_step="See that worker's log in Ray's, then continue with --resume.",
    )
