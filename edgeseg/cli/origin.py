"""How and where what this process measures was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.training.documents import Origin


def this_origin() -> Origin:
    """This command, on this machine."""
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.cli.console import command_line
    from edgeseg.training.documents import Origin

    host = describe_host()
    return Origin(command_line(), f"{host.cpu}, {host.cores} cores, {host.memory_gib} GiB; {host.system}")
