"""The emulated machine: Debian's arm64 packages, aarch64 wheels, and a way to run a command among them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomllib

PROJECT = Path(__file__).resolve().parents[2]
SUITE, PYTHON = "bookworm", "3.11"  # also what Raspberry Pi OS has been since 2023
# pip takes a tag by its name alone: one for 2.28 does not let those for an older C library in.
TAGS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
EXTRAS = ("litert", "onnx")
_INSIDE = Path(__file__).with_name("inside.sh")
_TOOLS = {"mmdebstrap": "mmdebstrap", "qemu-aarch64-static": "qemu-user-static", "unshare": "util-linux"}
_LONGEST_COMMAND_SECONDS = 1800
# The board that each is in, and what Linux calls it there. What the kernels of the runtimes ask for is
# what qemu says it can (no dot product on a Cortex-A72); this is what they print and sort cores by.
CPUS = {
    "cortex-a76": ("Raspberry Pi 5", "0xd0b", "fp asimd aes pmull sha1 sha2 crc32 atomics asimdhp asimddp"),
    "cortex-a72": ("Raspberry Pi 4", "0xd08", "fp asimd crc32"),
}


class ProofError(Exception):
    """The proof could not be made, or failed; the message says why."""


@dataclass(frozen=True)
class Machine:
    """An arm64 root, the packages of the vehicle half, edgeseg itself, and a folder to exchange files in.

    ``proof`` is ``/proof`` inside.
    """

    root: Path
    packages: Path
    edgeseg: Path
    proof: Path
    cpu: str

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command inside, with its output; whatever it ends with."""
        cpuinfo = self.proof / "cpuinfo"
        cpuinfo.write_text(_cpuinfo(self.cpu), encoding="ascii")
        places = (self.root, _qemu(), self.cpu, cpuinfo, self.packages, self.edgeseg, self.proof)
        unshare = ("unshare", "--user", "--map-root-user", "--mount", "sh", str(_INSIDE))
        return run([*unshare, *map(str, places), *command], check=False)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("/usr/bin/python3", *arguments)


def missing() -> str:
    """What this computer lacks for the proof, and what mends it; empty where it has everything."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"it compares with x86-64 Linux, and this is {platform.system()} {platform.machine()}"
    lacking = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if lacking:
        return f"it needs Debian's {' and '.join(lacking)}: apt-get install {' '.join(lacking)}"
    tried = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True, text=True
    )
    if tried.returncode:
        return f"it needs user namespaces, and they are refused here: {tried.stderr.strip()}"
    return ""


def make_root(cache: Path) -> Path:
    """Python and the C++ library for arm64, from the Debian mirror that this computer uses.

    The packages are only unpacked: none of their scripts runs, so that this needs no emulation.
    """
    root = cache / f"root-{SUITE}"
    if root.is_dir():
        return root
    places = " ".join(f'"$1/{name}"' for name in ("proc", "sys", "binfmt", "proof", "opt"))
    places += ' "$1/opt/packages" "$1/opt/edgeseg"'
    with _whole(root) as staging:
        command = ["mmdebstrap", "--quiet", "--architectures=arm64", "--variant=extract"]
        command += ["--include=python3,libstdc++6,libgomp1", f"--extract-hook=mkdir -p {places}"]
        run([*command, SUITE, str(staging), *_debian_mirror()])
    return root


def make_packages(cache: Path) -> Path:
    """What ``pip install 'edgeseg[litert,onnx]'`` brings a board, at the versions of constraints.txt."""
    constraints = PROJECT / "constraints.txt"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [need for extra in EXTRAS for need in project["optional-dependencies"][extra]]
    needs = [*project["dependencies"], *extras]
    # Unpacked they are 300 MB: made once for each set of them.
    digest = hashlib.sha256("\n".join([*needs, *TAGS, PYTHON]).encode() + constraints.read_bytes())
    folder = cache / f"packages-{digest.hexdigest()[:16]}"
    if not folder.is_dir():
        with _whole(folder) as staging:
            run([*_pip("install"), *_for_arm(staging), "-c", str(constraints), *needs])
    return folder


def make_edgeseg(folder: Path) -> Path:
    """edgeseg as its wheel installs it, not as it lies here."""
    run([*_pip("wheel"), "--no-deps", "-w", str(folder / "wheel"), str(PROJECT)])
    wheel = next((folder / "wheel").glob("edgeseg-*.whl"))
    run([*_pip("install"), *_for_arm(folder / "edgeseg"), "--no-deps", str(wheel)])
    return folder / "edgeseg"


def run(command: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command with its output; by default its failure is the proof's."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_COMMAND_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise ProofError(f"{' '.join(command)}: no end after {_LONGEST_COMMAND_SECONDS} s") from error
    if check and done.returncode:
        raise ProofError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.strip()[-2000:]}")
    return done


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to fill that takes its name when the block ends well, so that half of one is never used.

    Not edgeseg's own: that follows links, and those of a root lead out of it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f"{folder.name}.{os.getpid()}")
    staging.mkdir()
    try:
        yield staging
        staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _pip(verb: str) -> list[str]:
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]


def _for_arm(target: Path) -> list[str]:
    tags = [f"--platform={tag}" for tag in TAGS]
    return ["--target", str(target), "--only-binary=:all:", f"--python-version={PYTHON}", *tags]


def _debian_mirror() -> list[str]:
    """The mirror of this computer's apt; none, and so mmdebstrap's own, where it is no Debian."""
    form = ["--format", "$(SITE) $(CODENAME)", "Created-By: Packages", "Origin: Debian"]
    if shutil.which("apt-get") is None:
        return []
    lines = run(["apt-get", "indextargets", *form], check=False).stdout.splitlines()
    # bookworm-updates, bookworm-security and the like hold a part of it only.
    return [line.split()[0] for line in lines if "-" not in line.split()[1]][:1]


def _qemu() -> str:
    found = shutil.which("qemu-aarch64-static")
    if found is None:
        raise ProofError(missing())
    return found


def _cpuinfo(cpu: str) -> str:
    """What ``/proc/cpuinfo`` says on such a board, of two cores."""
    _, part, features = CPUS[cpu]
    core = {
        "BogoMIPS": "108.00",
        "Features": features,
        "CPU implementer": "0x41",
        "CPU architecture": "8",
        "CPU variant": "0x4",
        "CPU part": part,
        "CPU revision": "1",
    }
    lines = (f"processor\t: {n}\n" + "".join(f"{k}\t: {v}\n" for k, v in core.items()) for n in range(2))
    return "\n".join(lines) + "\n"
