"""Labelling on a Ray cluster: Ray Data hands the units to actors, each with a model of its own.

Ray gives a unit again whose machine was lost, and one whose result was, without end. That does no harm: the
shards that are finished are found, and the others are written under their name in one step.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import edgeseg
from edgeseg.errors import EdgesegError, UsageError
from edgeseg.labelling.labeller import Labeller, UnitResult
from edgeseg.labelling.run import Plan, Workers
from edgeseg.labelling.sources import Unit
from edgeseg.ray_connection import ray_connection

if TYPE_CHECKING:
    from types import ModuleType

_MOST_TASKS = 10_000
# None waits at an actor while another has nothing to do: a unit takes far longer than to hand it out.
_TASKS_IN_FLIGHT = 1


def on_ray(address: str, actors: int | None, threads: int) -> Workers:
    """Label with actors on a Ray cluster.

    Args:
        address: Of the cluster, as ``ray.init`` takes it: ``HOST:PORT``, ``auto``, or ``local`` for this
        machine alone.
        actors: How many at most; by default as many as the cluster has cores for, and units.
        threads: Cores that each takes.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers there, or it has too few cores for one actor.
        EdgesegError: What an actor raised; :meth:`Labeller.label` says what.
    """

    def work(plan: Plan, units: Sequence[Unit]) -> Iterator[UnitResult]:
        with ray_connection(address) as ray:
            wanted = min(_room(ray, threads, address), actors or len(units), len(units))
            yield from _results(ray, plan, units, wanted, threads)

    return work


class LabelActor:
    """A :class:`Labeller` as Ray Data calls it. Errors are handed back: Ray would only try again."""

    def __init__(self, shared: Mapping[str, Any], threads: int, version: str) -> None:
        import ray

        job, place, bundle = ray.get(shared["plan"])
        self._version = version
        self._labeller = Labeller(job, place, bundle, threads)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, bytes]:
        try:
            _check_version(self._version)
            return {"result": pickle.dumps(self._labeller.label(pickle.loads(row["unit"])))}
        except EdgesegError as error:
            return {"result": pickle.dumps(error)}


def _results(
    ray: ModuleType, plan: Plan, units: Sequence[Unit], actors: int, threads: int
) -> Iterator[UnitResult]:
    from ray.data import ActorPoolStrategy, DataContext

    # Its bars, logs and tracebacks would stand between what we say ourselves.
    DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    # As bytes, since Ray's tables know neither our classes nor each other's.
    rows = [{"unit": pickle.dumps(unit)} for unit in units]
    dataset = ray.data.from_items(rows, override_num_blocks=min(len(rows), _MOST_TASKS)).map(
        LabelActor,
        fn_constructor_args=(
            {"plan": ray.put((plan.job, plan.place, plan.bundle))},
            threads,
            edgeseg.__version__,
        ),
        compute=ActorPoolStrategy(
            min_size=1, initial_size=actors, max_size=actors, max_tasks_in_flight_per_actor=_TASKS_IN_FLIGHT
        ),
        num_cpus=threads,
    )
    for row in dataset.iter_rows():
        result = pickle.loads(row["result"])
        if isinstance(result, EdgesegError):
            raise result
        yield result


def _room(ray: ModuleType, threads: int, address: str) -> int:
    """How many actors the cluster has cores for."""
    cores = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
    room = sum(int(count // threads) for count in cores)
    if not room:
        raise UsageError(
            f"--threads {threads}",
            expected=f"at most the cores of a machine of the cluster at {address}",
            found=f"machines of {', '.join(f'{count:.0f}' for count in cores) or 'no'} cores",
            next_step="Give fewer threads.",
        )
    return room


def _check_version(version: str) -> None:
    if edgeseg.__version__ != version:
        raise UsageError(
            f"edgeseg on {os.uname().nodename}",
            expected=f"{version}, as where the command was given",
            found=edgeseg.__version__,
            next_step="Install one version on all machines: another one may give other masks.",
        )
