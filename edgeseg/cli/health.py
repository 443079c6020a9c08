"""``edgeseg health``: how a running loop is, for people, scripts and supervisors of containers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping


def health(
    file: Annotated[Path, typer.Argument(help="The file that edgeseg run --health keeps.", metavar="FILE")],
    json: Annotated[bool, typer.Option("--json", help="Print it as one JSON document.")] = False,
) -> None:
    """Show the state of a loop, the reason, and whether the loop still writes it.

    Exit code 0: OK or DEGRADED, and written within the last two seconds. 1: another state, or a loop that
    does not write any more. 2: no such file, or another kind of file.
    """
    from edgeseg.cli.console import print_json
    from edgeseg.loop.health import read_health, written_s_ago

    values, fresh = read_health(file)
    age_s = written_s_ago(values)
    if json:
        print_json({"fresh": fresh, "written_s_ago": age_s, **values})
    else:
        _show(values, fresh, age_s)
    _check(file, values, fresh, age_s)


def _show(values: Mapping[str, Any], fresh: bool, age_s: float | None) -> None:
    writes = "still writes it" if fresh else "does not write it any more"
    lines = [
        _headline(values),
        f"for {values['since_s']:.1f} s; written {_ago(age_s)} by process {values['pid']}, which {writes}",
        f"{values['fps']:.1f} masks a second, the newest {values['age_ms']:.0f} ms old when it was finished; "
        f"camera opened {values['epoch']} time(s)",
        *(f"{role} started anew {count} time(s)" for role, count in values["restarts"].items() if count),
        *(f"sink: {error}" for error in values["sink_errors"]),
    ]
    for line in lines:
        typer.echo(line)


def _check(file: Path, values: Mapping[str, Any], fresh: bool, age_s: float | None) -> None:
    """One message and an exit code where the masks cannot be used."""
    from edgeseg.errors import UnhealthyError
    from edgeseg.loop.states import USABLE

    if fresh and values["state"] in USABLE:
        return
    raise UnhealthyError(
        file,
        expected=f"a loop in state {' or '.join(USABLE)} that still writes it",
        found=_headline(values) if fresh else f"{_headline(values)}, written {_ago(age_s)}",
        next_step="Look at what the reason names; the loop itself goes on trying."
        if fresh
        else "The loop has ended, or hangs: start it again.",
    )


def _headline(values: Mapping[str, Any]) -> str:
    return f"{values['state']}: {values['reason']}" if values["reason"] else str(values["state"])


def _ago(age_s: float | None) -> str:
    return "before the machine was started" if age_s is None else f"{age_s:.1f} s ago"
