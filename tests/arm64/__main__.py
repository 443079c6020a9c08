"""Prove the vehicle half on arm64 Linux under emulation: ``make arm64``.

Downloads, from where apt and pip are set to look, about 25 MB of Debian packages and 120 MB of wheels, and
keeps them in a cache folder; exports four small bundles here; runs ``edgeseg info``, ``verify``, ``predict``
and ``run`` on each under qemu; and compares every mask with this computer's. Beyond that folder it changes
nothing of the computer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TextIO

from arm64.compare import compare
from arm64.machine import (
    CPUS,
    PROJECT,
    Machine,
    ProofError,
    make_edgeseg,
    make_packages,
    make_root,
    missing,
    run,
)
from edgeseg.cache_folder import cache_folder

LEAST_AGREEMENT = 0.999
# Where the models see other pixels on Arm than on x86, so that their agreement proves little and a fault is
# far below: OpenCV's mean over areas, which for factors like 2.25 is often just between two levels, rounds
# 0.3 % of the values otherwise, and FFmpeg's conversion of a video to RGB most of them, by 1 to 3 levels.
LEAST_ON_OTHER_PIXELS = 0.95
LEAST_CLASSES = 3
_ABSENT = ("keras", "tensorflow", "jax", "torch")
_ABOUT = f"""
import importlib.util, json, platform
there = [name for name in {_ABSENT} if importlib.util.find_spec(name)]
print(json.dumps({{"machine": platform.machine(), "python": platform.python_version(), "there": there}}))
"""
# A command line of edgeseg, and its output; the one runs it there, the other here.
Edgeseg = Callable[..., str]


def main() -> int:
    options = _arguments()
    lack = missing()
    if lack:
        _say(f"arm64: cannot be proved here: {lack}", sys.stderr)
        return 2
    started = time.monotonic()
    try:
        prove(options.cache, options.cpu)
    except ProofError as error:
        _say(f"FAILED  {error}", sys.stderr)
        return 1
    _say(f"arm64: everything passed under qemu's {options.cpu} in {time.monotonic() - started:.0f} s")
    return 0


def prove(cache: Path, cpu: str) -> None:
    """All of it; what is made here is left in ``cache/proof`` to look at.

    Raises:
        ProofError: A step could not be done, or a check failed.
    """
    proof = cache / "proof"
    shutil.rmtree(proof, ignore_errors=True)
    proof.mkdir(parents=True)
    machine = Machine(make_root(cache), make_packages(cache), make_edgeseg(proof), proof, cpu)
    _check_machine(machine)
    _say("exporting four bundles of a small U-Net on this computer")
    from arm64.bundles import IMAGES, VIDEO_FRAMES, make_inputs  # takes seconds: it imports TensorFlow

    inputs = make_inputs(proof)
    checks: list[Callable[[], None]] = []
    for bundle in inputs.bundles:
        checks += [
            partial(_verify, machine, bundle),
            partial(_predict, machine, bundle, inputs.images, LEAST_AGREEMENT),
            partial(_run, machine, bundle, inputs.images, IMAGES, LEAST_AGREEMENT),
            partial(_predict, machine, bundle, inputs.odd_images, LEAST_ON_OTHER_PIXELS),
            partial(_run, machine, bundle, inputs.video, VIDEO_FRAMES, LEAST_ON_OTHER_PIXELS),
        ]
    failed = [check for check in checks if not _passes(check)]
    if failed:
        raise ProofError(f"{len(failed)} of {len(checks)} commands on the bundles")


def _passes(check: Callable[[], None]) -> bool:
    """One that fails is said, and keeps none of the others from being seen."""
    try:
        check()
    except (ProofError, OSError, LookupError, ValueError) as error:  # an answer that is no JSON, or another
        _say(f"FAILED  {type(error).__name__}: {error}")
        return False
    return True


def _check_machine(machine: Machine) -> None:
    done = machine.python("-c", _ABOUT)
    if done.returncode:
        hint = "before Linux 6.7 arm64 has to be registered with binfmt_misc: apt-get install binfmt-support"
        raise ProofError(f"Python does not start in the root ({hint}): {done.stderr.strip()}")
    about = json.loads(done.stdout)
    _require(about["machine"] == "aarch64", "machine", f"{about['machine']}, Python {about['python']}")
    there = ", ".join(about["there"]) or "none"
    _require(not about["there"], "packages of the training half", f"of {', '.join(_ABSENT)}: {there}")
    runtimes, here = (json.loads(edgeseg("info", "--json"))["runtimes"] for edgeseg in _both(machine))
    for name in ("litert", "onnx"):
        there, same = runtimes[name]["version"], here[name]["version"]
        _require(there == same, f"info: {name}", f"{there} there, {same} here")


def _verify(machine: Machine, bundle: Path) -> None:
    there, _ = _both(machine)
    checks = json.loads(there("verify", f"/proof/{bundle.name}", "--json"))["checks"]
    passed = {check["name"]: check["seen"] for check in checks if check["state"] == "passed"}
    needed = {"files and hashes", "graph contract", "golden self-test"}
    _require(needed <= passed.keys(), f"{bundle.stem}-verify", passed.get("golden self-test", str(checks)))


def _predict(machine: Machine, bundle: Path, images: Path, least: float) -> None:
    name = f"{bundle.stem}-predict-{images.name}"
    for edgeseg, place, masks in _ends(machine, name):
        edgeseg("predict", f"{place}/{bundle.name}", f"{place}/{images.name}", "--out", masks)
    _agree(machine, name, least)


def _run(machine: Machine, bundle: Path, source: Path, frames: int, least: float) -> None:
    name = f"{bundle.stem}-run-{source.stem}"
    for edgeseg, place, masks in _ends(machine, name):
        loop = "--source", f"{place}/{source.name}", "--sink", masks, "--every-frame", "--json"
        counts = json.loads(edgeseg("run", f"{place}/{bundle.name}", *loop))["frames"]
        if counts["inferred"] != frames:
            raise ProofError(f"{name}: {frames} frames are in {source.name}, and it says {counts}")
    _agree(machine, name, least)


def _ends(machine: Machine, name: str) -> Iterator[tuple[Edgeseg, str, str]]:
    """edgeseg there and here, what it finds its files under, and where its masks go."""
    there, here = _both(machine)
    yield there, "/proof", f"/proof/{name}-arm64"
    yield here, str(machine.proof), str(machine.proof / f"{name}-x86")


def _agree(machine: Machine, name: str, least: float) -> None:
    """The masks that were written there, against those that were written here."""
    try:
        agreement = compare(machine.proof / f"{name}-arm64", machine.proof / f"{name}-x86")
    except ValueError as error:
        raise ProofError(str(error)) from error
    enough = agreement.share >= least and agreement.classes >= LEAST_CLASSES
    _require(enough, name, f"{agreement}, {least:.1%} needed")


def _both(machine: Machine) -> tuple[Edgeseg, Edgeseg]:
    """edgeseg there and here."""

    def there(*arguments: str) -> str:
        done = machine.python("-m", "edgeseg", *arguments)
        if done.returncode:
            raise ProofError(f"edgeseg {' '.join(arguments)}: exit status {done.returncode}\n{done.stderr}")
        return done.stdout

    def here(*arguments: str) -> str:
        return run([sys.executable, "-m", "edgeseg", *arguments]).stdout

    return there, here


def _require(passed: bool, check: str, seen: str) -> None:
    if not passed:
        raise ProofError(f"{check}: {seen}")
    _say(f"passed  {check}: {seen}")


def _say(line: str, stream: TextIO | None = None) -> None:
    stream = stream or sys.stdout
    stream.write(f"{line}\n")
    stream.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m arm64", description=__doc__)
    default = os.environ.get("EDGESEG_ARM64_CACHE") or cache_folder() / "arm64"
    parser.add_argument("--cache", type=Path, default=Path(default), help="What can be used again.")
    parser.add_argument("--cpu", choices=CPUS, default="cortex-a76", help="The core that qemu imitates.")
    options = parser.parse_args()
    options.cache = options.cache.expanduser().resolve()
    if options.cache.is_relative_to(PROJECT):
        parser.error(f"--cache {options.cache}: expected a folder outside the project")
    return options


if __name__ == "__main__":
    sys.exit(main())
