"""``edgeseg info``: what there is to choose from, and what this machine can run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

# Packages that matter in a report of a fault; those that are missing are named with their extra.
_PACKAGES = {
    "numpy": "",
    "opencv-python-headless": "",
    "keras": "train",
    "tensorflow": "train",
    "albumentations": "train",
    "onnx": "export",
    "tf2onnx": "export",
    "nncf": "export",
    "keras-hub": "segformer",
    "mlflow": "mlflow",
}
_SAME_AS = {"tensorflow": ("tensorflow-cpu",), "opencv-python-headless": ("opencv-python",)}


def info(
    json: Annotated[bool, typer.Option("--json", help="Print it as one JSON document.")] = False,
) -> None:
    """Show the models, losses, datasets, targets and runtimes, and what this machine can run."""
    from edgeseg.cli.console import print_json

    runtimes = _runtimes()
    machine = {**_machine(), "bundles_it_can_run": _runnable_targets(runtimes)}
    values = {
        **_choices(),
        "runtimes": runtimes,
        "packages": _packages(),
        "machine": machine,
        "readiness": _readiness(),
    }
    if json:
        print_json(values)
    else:
        _print(values)


def _choices() -> dict[str, Any]:
    # Their dicts hold names only, so that they can be listed where Keras is not installed.
    from edgeseg.export.targets import TARGETS
    from edgeseg.training.data import DATASETS
    from edgeseg.training.generative import GANS
    from edgeseg.training.losses import LOSSES
    from edgeseg.training.models import MODELS

    return {
        "models": sorted(MODELS),
        "losses": sorted(LOSSES),
        "datasets": sorted(DATASETS),
        "generators": sorted(GANS),
        "targets": {name: target.hardware for name, target in TARGETS.items()},
    }


def _runtimes() -> dict[str, Any]:
    from edgeseg.runtimes import RUNTIMES

    return {
        name: {
            "version": runtime.version(),
            "formats": list(runtime.formats),
            "package": runtime.package,
            "remedy": runtime.remedy,
        }
        for name, runtime in RUNTIMES.items()
    }


def _runnable_targets(runtimes: dict[str, Any]) -> list[str]:
    """Targets whose bundles an installed runtime can run, though perhaps slower than on their hardware."""
    from edgeseg.export.targets import TARGETS

    installed = {name for name, runtime in runtimes.items() if runtime["version"]}
    return [
        f"{name} ({', '.join(sorted(fitting))})"
        for name, target in TARGETS.items()
        if (fitting := installed & {r for f in target.formats for r in f.runtimes})
    ]


def _packages() -> dict[str, str | None]:
    from edgeseg.runtimes.base import installed_version

    return {name: installed_version(name, *_SAME_AS.get(name, ())) for name in _PACKAGES}


def _machine() -> dict[str, Any]:
    import os
    import platform

    from edgeseg import __version__
    from edgeseg.runtimes.choice import choose_threads
    from edgeseg.runtimes.machine import read_machine
    from edgeseg.runtimes.readiness import describe

    return {
        "edgeseg": __version__,
        "kind": describe(read_machine()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads_by_default": choose_threads(),
        "cameras": sorted(_cameras()),
    }


def _readiness() -> list[dict[str, Any]]:
    """What running bundles here has and lacks, and the command that mends it."""
    from dataclasses import asdict

    from edgeseg.runtimes.machine import read_machine
    from edgeseg.runtimes.readiness import findings

    return [asdict(finding) for finding in findings(read_machine())]


def _cameras() -> Iterable[str]:
    from pathlib import Path

    return (str(path) for path in Path("/dev").glob("video*"))


def _print(values: dict[str, Any]) -> None:
    from edgeseg.cli.console import print_table

    machine = values["machine"]
    print_table(
        "To choose from",
        ("kind", "names"),
        [
            *((kind, ", ".join(values[kind])) for kind in ("models", "losses", "datasets", "generators")),
            *((f"target {name}", hardware) for name, hardware in values["targets"].items()),
        ],
    )
    print_table(
        "Runtimes",
        ("runtime", "installed", "runs"),
        [
            (name, r["version"] or f"no: {r['remedy']}", ", ".join(r["formats"]))
            for name, r in values["runtimes"].items()
        ],
    )
    print_table(
        "Packages",
        ("package", "installed"),
        [(name, _installed(version, _PACKAGES[name])) for name, version in values["packages"].items()],
    )
    print_table(
        "This machine",
        ("", "found"),
        [(name.replace("_", " "), _text(value)) for name, value in machine.items()],
    )
    print_table(
        "To run bundles here",
        ("", "found", "what mends it"),
        [
            (f["what"] + (" (needed)" if f["needed"] else ""), f["found"] or "no", f["remedy"])
            for f in values["readiness"]
        ],
    )


def _installed(version: str | None, extra: str) -> str:
    return version or f"no: pip install 'edgeseg[{extra}]'"


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value)
