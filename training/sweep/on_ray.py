"""A sweep's trials on the machines of a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace

from edgeseg.errors import UsageError
from edgeseg.ray_connection import ray_connection
from edgeseg.training.sweep.run import Report, Train
from edgeseg.training.sweep.study import Study, Trial

# A trial whose machine went away begins again on another; one that takes its machine along does not for ever.
_MOVES = 3


@dataclass(frozen=True)
class Cluster:
    """Where trials run: the cluster's address as ``ray.init`` takes it, and what a trial needs."""

    address: str
    cpus: float = 1
    gpus: float = 0


def run_on_ray(
    study: Study, cluster: Cluster, train: Train, begun: Callable[[Trial], None], report: Report
) -> None:
    """Train until as many trials are over as the sweep asks for, as many at once as the cluster has room for.

    Ray Tune places the trials and its Optuna search proposes them, from the study's own storage, which this
    process alone writes. The sweep's folder and the data must lie at the same paths on every machine.

    Args:
        study: The trials.
        cluster: Where they run.
        train: Called for each trial, on a machine of the cluster: it is sent there.
        begun: Called here before that.
        report: Called here before the first trial, and after each.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers at the address, or no machine of it has what a trial takes.
        OutputError: A machine does not see the sweep's folder.
        DataError: As :func:`edgeseg.training.sweep.run.run_sweep`.
        KeyboardInterrupt: It was interrupted. The same sweep, started again, goes on, here or there.
    """
    # Ray tells of a lost machine on stdout, where only results may be.
    with redirect_stdout(sys.stderr), ray_connection(cluster.address):
        _require_room(cluster)
        study.take_back()
        report()
        if study.remaining:
            _tune(study, cluster, train, begun, report)


def _require_room(cluster: Cluster) -> None:
    """Ray itself would wait without end for a machine that has what a trial takes."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(m.get("CPU", 0) >= cluster.cpus and m.get("GPU", 0) >= cluster.gpus for m in machines):
        raise UsageError(
            f"--trial-cpus {cluster.cpus:g} --trial-gpus {cluster.gpus:g}",
            expected=f"what one machine of the cluster at {cluster.address} has",
            found=", ".join(f"{m.get('CPU', 0):g} cores and {m.get('GPU', 0):g} GPUs" for m in machines),
            next_step="Give less, or wait for more machines.",
        )


def _tune(
    study: Study, cluster: Cluster, train: Train, begun: Callable[[Trial], None], report: Report
) -> None:
    from ray import tune

    from edgeseg.training.sweep.ray_search import Pruning, Refusal, StudySearch, trainable

    # Ctrl-C is to end the sweep, and not only what Ray does of it.
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    sweep = replace(study.sweep, out=study.sweep.out.resolve())
    search = StudySearch(study, begun, report)
    resources = {"cpu": cluster.cpus, **({"gpu": cluster.gpus} if cluster.gpus else {})}
    tuner = tune.Tuner(
        tune.with_resources(trainable(sweep, train), resources),
        tune_config=tune.TuneConfig(
            search_alg=search, scheduler=Pruning(search), num_samples=study.remaining, reuse_actors=False
        ),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(sweep.out),
            failure_config=tune.FailureConfig(max_failures=_MOVES),
            stop=Refusal(search),
            verbose=0,
        ),
    )
    tuner.fit()
    if search.refused:
        raise search.refused
