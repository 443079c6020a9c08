"""A connection to a Ray cluster, quiet, and refused in words where there is none."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any

from edgeseg.errors import MissingExtraError, UsageError

_CONNECT_SECONDS = 5.0


@contextmanager
def ray_connection(address: str) -> Iterator[ModuleType]:
    """The module ``ray``, connected as long as the block lasts.

    Args:
        address: ``HOST:PORT``; ``auto`` for the cluster that this machine is of; ``local`` for one of this
            machine alone, which ends with the block.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers there.
    """
    ray = check_reachable(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        options["include_dashboard"] = False
    # Ray tells of a lost machine on stdout, where results are.
    with redirect_stdout(sys.stderr):
        try:
            ray.init(address=address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise _unreachable(address, " ".join(str(error).split())[:200]) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def check_reachable(address: str) -> ModuleType:
    """See that something answers at ``HOST:PORT``, before slow work; gives the module ``ray``.

    Ray itself would try for minutes, and log all the while. Other addresses are left to it.

    Raises:
        MissingExtraError, UsageError: As :func:`ray_connection`.
    """
    # Ray counts its users over the network unless told otherwise before it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address == "local":
        # Ray would have workers come last, behind all else that the machine does: nice 15.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # And it would listen on every address, without a password. This is what makes it take loopback.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("--ray", "ray", "scale") from error
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdigit()):
        return ray
    if host in ("127.0.0.1", "localhost"):
        # As Ray does.
        util: Any = ray.util
        host = util.get_node_ip_address()
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, f"{host}: {error}") from error
    return ray


def _unreachable(address: str, found: str) -> UsageError:
    return UsageError(
        f"--ray {address}",
        expected="a Ray cluster that answers",
        found=found,
        next_step="Start one with 'ray start --head', run this on one of its machines with --ray auto, "
        "or give --ray local for this machine alone.",
    )
