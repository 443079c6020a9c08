"""What an export tries: each precision that is asked for in each format that fits and is installed."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace

from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.export.converter import EXTRA, first_missing, require_installed
from edgeseg.export.plan import Plan
from edgeseg.export.targets import Format
from edgeseg.runtimes import RUNTIMES


def plans_to_try(plans: Sequence[Plan]) -> tuple[list[Plan], list[str]]:
    """A plan for each precision and format, and notes of what is left out or taken unmeasured.

    Args:
        plans: One for each precision; its format is open.

    Raises:
        UsageError: Times are asked for that this machine cannot tell.
        MissingExtraError: What the only one needs is not installed.
    """
    _refuse_what_cannot_be_timed(plans[0])
    tried, notes, missing = [], [], []
    for plan in plans:
        try:
            formats, more = formats_to_try(plan)
        except MissingExtraError as error:
            missing.append(error)
            notes.append(f"The precision {plan.precisions[0]} was not tried: {error}")
        else:
            tried += [replace(plan, format=kind) for kind in formats]
            notes += more
    if not tried:
        raise missing[0]
    return tried, [*dict.fromkeys(notes), *_whose_times(plans[0])]


def formats_to_try(plan: Plan) -> tuple[tuple[Format, ...], list[str]]:
    """The formats to convert to, and notes of those that are left out.

    Raises:
        MissingExtraError: What the only format needs is not installed.
    """
    usual = plan.candidates[0]
    if len(plan.candidates) == 1:
        require_installed(f"exporting to {usual.name}", usual.needs(plan.precisions))
        return plan.candidates, []
    unmeasured = _why_unmeasured(plan)
    if unmeasured:
        require_installed(f"exporting to {usual.name}", usual.needs(plan.precisions))
        return (usual,), [f"The format {usual.name} was taken unmeasured ({unmeasured})."]
    missing = {kind.name: first_missing(kind.needs(plan.precisions)) for kind in plan.candidates}
    notes = [
        f"The format {name} was not tried: the package {package!r} is not installed "
        f"(pip install 'edgeseg[{EXTRA}]')."
        for name, package in missing.items()
        if package
    ]
    there = tuple(kind for kind in plan.candidates if not missing[kind.name])
    if not there:
        require_installed(f"exporting to {usual.name}", usual.needs(plan.precisions))
    return there, notes


def _why_unmeasured(plan: Plan) -> str:
    """Why the usual format is taken as it is; empty where formats are tried."""
    if not plan.options.measure:
        return "--no-measure"
    machine = platform.machine()
    is_alike = machine in plan.target.machines or plan.options.wants_times
    return "" if is_alike else f"this machine is {machine}"


def _refuse_what_cannot_be_timed(plan: Plan) -> None:
    options, runtime = plan.options, plan.format.runtimes[0]
    if not options.wants_times:
        return
    asked = " and ".join(options.asking_for_times)
    if not options.measure:
        raise UsageError(
            "--no-measure",
            expected=f"to measure on this machine, as {asked} asks for",
            found="both",
            next_step="Leave one of them out.",
        )
    if plan.target.builds_engine and RUNTIMES[runtime].version() is None:
        raise UsageError(
            asked,
            expected=f"a target that can run on this machine, for it measures here; {plan.target.name} runs "
            f"in {runtime}",
            found=f"no working {runtime} here",
            next_step=f"Export with --precision {' or '.join(plan.target.precisions)}, and time it on the "
            "device: edgeseg benchmark BUNDLE --max-latency-ms MS",
        )


def _whose_times(plan: Plan) -> list[str]:
    machine, target = platform.machine(), plan.target
    if not plan.options.wants_times or target.builds_engine or machine in target.machines:
        return []
    return [
        f"The times are this machine's ({machine}); 'edgeseg benchmark' tells those of {target.hardware}."
    ]
