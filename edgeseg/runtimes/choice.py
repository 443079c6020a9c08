"""Which runtime runs a bundle here, with which of its model files, on how many threads."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import MissingExtraError, RuntimeUnavailableError, UnknownNameError, UsageError
from edgeseg.runtimes import RUNTIMES, RuntimeFactory

MAX_DEFAULT_THREADS = 4


def choose_model(
    bundle: Bundle, runtime: str | None = None, precision: str | None = None
) -> tuple[RuntimeFactory, ModelFile]:
    """The first of the bundle's runtimes that is installed, with the first model file that it can run.

    Args:
        bundle: A checked bundle.
        runtime: Take this runtime and no other.
        precision: Take a model file of this precision and no other.

    Raises:
        RuntimeUnavailableError: None of the bundle's runtimes is installed, or known to this edgeseg.
        MissingExtraError: The runtime asked for is not installed.
        UsageError: The bundle has no such runtime or precision.
    """
    if runtime is not None and runtime not in RUNTIMES:
        raise UnknownNameError.of("runtime", runtime, RUNTIMES)
    models = [m for m in bundle.manifest.models if precision in (None, m.precision)]
    candidates = list(_candidates(bundle, models, runtime))
    if not candidates:
        raise _nothing_fits(bundle, runtime, precision)
    for factory, model in candidates:
        if factory.version() is not None:
            return factory, model
    if runtime is not None:
        raise MissingExtraError(
            f"runtime {runtime!r}",
            expected=f"{RUNTIMES[runtime].package!r}, able to run here",
            found="it cannot",
            next_step=f"Mend it with: {RUNTIMES[runtime].remedy}",
        )
    raise RuntimeUnavailableError(
        bundle.path,
        expected=f"one of the runtimes {', '.join(bundle.manifest.runtime.names)} to be installed",
        found="none of them",
        next_step="Mend one: " + " or ".join(factory.remedy for factory, _ in candidates),
    )


def choose_threads(threads: int | None = None) -> int:
    """``threads``, or every core that this process may use up to 4: more gain little on maps this small.

    Raises:
        UsageError: It is less than 1.
    """
    if threads is None:
        return min(available_cores(), MAX_DEFAULT_THREADS)
    if threads < 1:
        raise UsageError("threads", expected="1 or more", found=str(threads), next_step="Correct it.")
    return threads


def _candidates(
    bundle: Bundle, models: list[ModelFile], runtime: str | None
) -> Iterator[tuple[RuntimeFactory, ModelFile]]:
    for name in bundle.manifest.runtime.names:
        if name not in RUNTIMES or runtime not in (None, name):
            continue
        fitting = [m for m in models if m.format in RUNTIMES[name].formats]
        if fitting:
            yield RUNTIMES[name], fitting[0]


def _nothing_fits(
    bundle: Bundle, runtime: str | None, precision: str | None
) -> UsageError | RuntimeUnavailableError:
    manifest = bundle.manifest
    kind = RuntimeUnavailableError if runtime is None and precision is None else UsageError
    return kind(
        bundle.path,
        expected=f"a model of precision {precision or 'any'} for runtime {runtime or 'any'}",
        found=f"{', '.join(f'{m.file} ({m.precision})' for m in manifest.models)} "
        f"for runtimes {', '.join(manifest.runtime.names)}",
        next_step=f"This edgeseg runs {', '.join(RUNTIMES)}: choose one of them that the bundle names, "
        "or export for another target.",
    )


def available_cores() -> int:
    """Cores that this process may use, which in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
