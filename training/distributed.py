"""Training on several GPUs or several machines, with the result of one device that holds the whole batch.

It is TensorFlow's synchronous data parallelism: every replica takes its share of each batch, the losses sum
over all shares (:func:`edgeseg.training.losses.pixels.batch_sum`), BatchNorm normalises over all of them, and
gradients are added. docs/adr/0013 says what of Keras 3 had to be gone around, and what holds exactly.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from edgeseg.errors import TrainingError, UsageError
from edgeseg.training.batches import Batches
from edgeseg.training.data.loader import Batch
from edgeseg.training.precision import jit_compile
from edgeseg.training.rendezvous import meet
from edgeseg.training.replicated import ReplicatedTrainee
from edgeseg.training.trainee import Trainee


@dataclass(frozen=True)
class Cluster:
    """The processes and devices that train one network together.

    Attributes:
        workers: ``HOST:PORT`` of every process, in the same order everywhere; empty for this one alone.
        index: This process's place among them.
        strategy: TensorFlow's, or ``None`` where there is one device.
    """

    workers: tuple[str, ...] = ()
    index: int = 0
    strategy: Any = None

    @property
    def is_chief(self) -> bool:
        """Whether this process keeps the run folder and tells of the run: the first one does."""
        return self.index == 0

    @property
    def replicas(self) -> int:
        """Devices that share a batch, of all processes."""
        return self.strategy.num_replicas_in_sync if self.strategy else 1

    @property
    def part(self) -> tuple[int, int, int]:
        """Which parts of each batch this process loads, as :class:`BatchLoader` takes it."""
        own = self.replicas // max(len(self.workers), 1)
        return self.index * own, own, self.replicas

    @property
    def jit_compile(self) -> bool | str:
        """What ``Model.compile`` takes: sums over replicas cannot be part of what XLA compiles."""
        return jit_compile() if self.strategy is None else False

    def scope(self) -> AbstractContextManager[Any]:
        """Around the making of what all replicas hold: network, optimiser, metric, and their compilation."""
        return self.strategy.scope() if self.strategy else nullcontext()

    @property
    def trainee(self) -> Callable[..., Trainee]:
        """What makes the trainee; it is called outside of :meth:`scope`."""
        return self._replicated if self.strategy else Trainee

    def _replicated(self, *arguments: Any) -> Trainee:
        return ReplicatedTrainee(self.strategy, len(self.workers) > 1, *arguments)

    def batches(self, batches: Batches) -> Any:
        """What ``fit`` takes: the batches, of which every replica sees its share.

        Args:
            batches: Of a loader of this process's :attr:`part`.
        """
        if self.strategy is None:
            return batches
        return self.strategy.distribute_datasets_from_function(lambda _: self._shares(batches))

    def of_chief(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The chief's numbers, in every process: what they decide by must not differ in the last digit."""
        own = np.asarray(values, np.float64)
        if len(self.workers) < 2:
            return own
        return self._sum(own, of_first=True)

    def _sum(self, values: npt.ArrayLike, *, of_first: bool = False) -> npt.NDArray[np.float64]:
        """Over all replicas, or of the first one alone: several of the chief would count several times."""
        import tensorflow as tf

        own = np.asarray(values, np.float64)

        def mine() -> Any:
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            return tf.where(first if of_first else True, tf.constant(own), tf.zeros_like(own))

        total: npt.NDArray[np.float64] = self.strategy.reduce(
            "SUM", tf.function(self.strategy.run)(mine), axis=None
        ).numpy()
        return total

    def check_alike(self, digests: Mapping[str, str]) -> None:
        """Refuse to train together on what differs: the sums would be of different things, and nobody told.

        Args:
            digests: What has to be the same in every process, to its SHA-256 in hexadecimal.

        Raises:
            TrainingError: Something here is not what it is at the chief.
        """
        if len(self.workers) < 2:
            return
        own = [[int(digest[i : i + 8], 16) for i in range(0, 64, 8)] for digest in digests.values()]
        differs = (self.of_chief(own) != np.asarray(own, np.float64)).any(axis=1)
        # All of them end here: one that went on would wait for the others, and then blame the network.
        anywhere = self._sum(differs) > 0
        if different := [name for name, found in zip(digests, anywhere, strict=True) if found]:
            raise TrainingError(
                f"worker {self.index}",
                expected=f"the same {' and '.join(different)} at every worker",
                found="others here than at worker 0" if differs.any() else "others at another one",
                next_step="Start every worker with the same options and data; before --resume, give each the "
                "run folder of worker 0 as it is now.",
            )

    @contextmanager
    def run_folder(self, path: Path) -> Iterator[Path]:
        """Where this process writes its run: the chief to ``path``, another to a copy that is thrown away."""
        if self.is_chief:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="edgeseg-worker-") as folder:
            own = Path(folder) / path.name
            if path.is_dir():
                shutil.copytree(path, own)
            yield own

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Say in words that another worker was lost.

        Raises:
            TrainingError: One was.
        """
        if len(self.workers) < 2:
            yield
            return
        import tensorflow as tf

        lost = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError,
                tf.errors.CancelledError, tf.errors.DeadlineExceededError)  # fmt: skip
        try:
            yield
        except lost as error:
            raise TrainingError(
                f"worker {self.index} of {', '.join(self.workers)}",
                expected="every worker to take part in each step",
                found=f"one that no longer answers ({' '.join(str(error).split())[:200]})",
                next_step="See what that worker said last, then continue all of them with --resume.",
            ) from error

    def _shares(self, batches: Batches) -> Any:
        """The batches of this process's replicas in turn, as a dataset of an epoch."""
        import tensorflow as tf

        first, own, of = self.part

        def epoch() -> Iterator[Batch]:
            for number in range(batches.num_batches):
                left = batches.images - number * batches.batch_size
                if min(left, batches.batch_size) < of:
                    yield from copies(batches[number], own, batches.ignore_index, counted=first == 0)
                else:
                    yield from shares(batches[number], own)

        height, width = batches.size
        signature = (
            tf.TensorSpec((None, height, width, 3), tf.uint8),
            tf.TensorSpec((None, height, width), tf.uint8),
        )
        dataset = tf.data.Dataset.from_generator(epoch, output_signature=signature)
        return dataset.apply(tf.data.experimental.assert_cardinality(batches.num_batches * own)).prefetch(own)


ALONE = Cluster()
"""This process with one device."""


def connect(workers: Sequence[str] = (), index: int | None = None) -> Cluster:
    """Join the other workers; to be called before anything else asks TensorFlow for a device.

    Without ``workers`` those of the environment variable ``TF_CONFIG`` are taken; without that, all GPUs that
    this process sees.

    Args:
        workers: ``HOST:PORT`` of every process, in the same order everywhere.
        index: This process's place in ``workers``, from 0.

    Raises:
        UsageError: The workers are not well given, or the backend is not TensorFlow.
        TrainingError: The others did not come.
    """
    if not workers and os.environ.get("TF_CONFIG"):
        workers, index = _of_environment(os.environ["TF_CONFIG"])
        # A scheduler names a job's only machine, too.
        if len(workers) == 1:
            return mirrored(_gpus())
    if not workers:
        _check_no_index(index)
        return mirrored(_gpus())
    _check_workers(workers, index)
    meet(workers, index or 0)
    return _connected(tuple(workers), index or 0)


def mirrored(devices: Sequence[str]) -> Cluster:
    """Devices of this process, for instance ``GPU:0`` and ``GPU:1``; fewer than two need no strategy."""
    if len(devices) < 2:
        return ALONE
    import tensorflow as tf

    return Cluster(strategy=tf.distribute.MirroredStrategy(list(devices)))


def shares(batch: Batch, count: int) -> list[Batch]:
    """A batch in ``count`` parts whose sizes differ by one at most."""
    return list(zip(*(np.array_split(part, count) for part in batch), strict=True))


def copies(batch: Batch, count: int, ignore_index: int, *, counted: bool) -> list[Batch]:
    """A batch of fewer images than there are replicas, whole for each of ``count``: all have to take part.

    It counts at most at the first, and only if ``counted``; elsewhere its masks are ignored. BatchNorm sees
    the same everywhere.
    """
    images, masks = batch
    ignored = images, np.full_like(masks, ignore_index)
    return [batch if counted and replica == 0 else ignored for replica in range(count)]


def _connected(workers: tuple[str, ...], index: int) -> Cluster:
    import tensorflow as tf

    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(workers)}),
        task_type="worker",
        task_id=index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    return Cluster(workers, index, tf.distribute.MultiWorkerMirroredStrategy(resolver))


def _gpus() -> list[str]:
    if keras.backend.backend() != "tensorflow":
        return []
    import tensorflow as tf

    return [f"GPU:{number}" for number in range(len(tf.config.list_physical_devices("GPU")))]


def _of_environment(text: str) -> tuple[list[str], int]:
    """Workers and index of ``TF_CONFIG``, a chief first."""
    try:
        config = json.loads(text)
        jobs, task = config["cluster"], config["task"]
        chief, others = list(jobs.get("chief", [])), list(jobs.get("worker", []))
        place = int(task["index"]) + (len(chief) if task["type"] == "worker" else 0)
        fits = task["type"] in ("chief", "worker")
    except (ValueError, KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise UsageError(
            "TF_CONFIG",
            expected='{"cluster": {"worker": ["HOST:PORT", …]}, "task": {"type": "worker", "index": N}}',
            found=text[:200],
            next_step="Correct it, unset it, or use --workers and --worker-index.",
        )
    return chief + others, place


def _check_workers(workers: Sequence[str], index: int | None) -> None:
    wrong = [worker for worker in workers if not _is_address(worker)]
    if wrong or len(workers) < 2 or len(set(workers)) < len(workers):
        raise UsageError(
            "--workers",
            expected="two or more different HOST:PORT, separated by commas, in the same order everywhere",
            found=", ".join(wrong or workers),
            next_step="For instance: --workers 10.0.0.1:2300,10.0.0.2:2300",
        )
    if index is None or not 0 <= index < len(workers):
        raise UsageError(
            "--worker-index",
            expected=f"this worker's place in --workers, 0 to {len(workers) - 1}",
            found="none" if index is None else str(index),
            next_step="Give each worker its own; the one with 0 keeps the run folder.",
        )
    if keras.backend.backend() != "tensorflow":
        raise UsageError(
            "--workers",
            expected="the TensorFlow backend",
            found=f"KERAS_BACKEND={keras.backend.backend()}",
            next_step="Unset KERAS_BACKEND, or train with one worker.",
        )


def _check_no_index(index: int | None) -> None:
    if index is not None:
        raise UsageError(
            "--worker-index",
            expected="--workers beside it",
            found=str(index),
            next_step="Name all workers: --workers HOST:PORT,HOST:PORT",
        )


def _is_address(worker: str) -> bool:
    host, _, port = worker.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 2**16
