"""What this machine has for running bundles, what it lacks, and what mends that."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseg.runtimes import RUNTIMES
from edgeseg.runtimes.base import installed_version
from edgeseg.runtimes.machine import Machine
from edgeseg.runtimes.tensorrt import api, cuda

_NAMES = {"jetson": "Jetson", "x86": "x86-64 PC", "arm": "Arm board", "other": "machine of another kind"}


@dataclass(frozen=True)
class Finding:
    """One thing that running a bundle may need.

    Args:
        what: Its name.
        found: What is there; empty where it is missing.
        remedy: What mends it, where it is missing or does not do.
        needed: Whether a machine of this kind needs it to run its own bundles.
    """

    what: str
    found: str
    remedy: str
    needed: bool

    @property
    def missing(self) -> bool:
        return bool(self.remedy)


@dataclass(frozen=True)
class Installed:
    """What can be asked of the Python installation and the driver; tests put their own answers here.

    Each gives a version, ``None`` where there is none; ``gpus`` counts those that CUDA can use.
    """

    tensorrt: Callable[[], str | None] = api.installed_version
    package: Callable[[str], str | None] = installed_version
    runtime: Callable[[str], str | None] = lambda name: RUNTIMES[name].version()
    gpus: Callable[[], int] = cuda.device_count


def findings(machine: Machine, root: Path = Path("/"), installed: Installed | None = None) -> list[Finding]:
    """Everything that matters on a machine of this kind, what is needed most first."""
    here = installed or Installed()
    return [*_tensorrt(machine, here), *_cpu_runtimes(machine, here), *_cameras(root)]


def describe(machine: Machine) -> str:
    """The machine in a few words."""
    parts = [machine.board or _NAMES[machine.kind], f"Jetson Linux {machine.l4t}" if machine.l4t else ""]
    return ", ".join(part for part in parts if part)


def _tensorrt(machine: Machine, here: Installed) -> Iterator[Finding]:
    is_jetson = machine.kind == "jetson"
    if not is_jetson and not machine.nvidia_driver:
        return
    if is_jetson:
        too_old = machine.l4t_is_old or not machine.l4t
        remedy = "flash JetPack 6.1 or later: it brings TensorRT 10.3" if too_old else ""
        yield Finding("Jetson Linux", machine.l4t, remedy, needed=True)
    yield _present("TensorRT for Python", here.tensorrt(), machine.tensorrt_remedy, is_jetson)
    bindings = here.package("cuda-bindings")
    yield _present("CUDA bindings", bindings, "pip install 'edgeseg[tensorrt]'", is_jetson)
    if bindings:
        gpus = str(here.gpus() or "")
        yield _present("GPU for CUDA", gpus, _gpu_remedy(machine, bindings), is_jetson)


def _gpu_remedy(machine: Machine, bindings: str) -> str:
    if machine.nvidia_driver and not bindings.startswith("12."):
        return "pip install 'cuda-bindings>=12.9,<13', where the driver is of CUDA 12, as JetPack 6's is"
    return machine.driver_remedy


def _cpu_runtimes(machine: Machine, here: Installed) -> Iterator[Finding]:
    first = {"arm": "litert", "x86": "onnx"}.get(machine.kind)
    for name in RUNTIMES:
        if name == "tensorrt":  # told of with all that it needs
            continue
        yield _present(f"runtime {name}", here.runtime(name), RUNTIMES[name].remedy, name == first)


def _cameras(root: Path) -> Iterator[Finding]:
    there = sorted((root / "dev").glob("video*"))
    closed = [path.name for path in there if not os.access(path, os.R_OK | os.W_OK)]
    if there:
        remedy = "sudo usermod -aG video $USER, and log in again" if closed else ""
        yield Finding("cameras", ", ".join(f"/dev/{path.name}" for path in there), remedy, needed=False)


def _present(what: str, found: str | None, remedy: str, needed: bool) -> Finding:
    return Finding(what, found or "", "" if found else remedy, needed)
