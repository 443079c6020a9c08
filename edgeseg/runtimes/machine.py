"""What machine this is, as far as running bundles goes: a Jetson, or another board or PC."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OLDEST_L4T = (36, 4)
"""That of JetPack 6.1, the first with TensorRT 10.3."""

_RELEASE = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")


@dataclass(frozen=True)
class Machine:
    """A machine as its own files describe it.

    Args:
        kind: ``jetson``, ``x86``, ``arm`` or ``other``.
        board: Its name in the device tree; empty where there is none.
        l4t: Release of Jetson Linux, for instance ``R36.4.3``; empty elsewhere.
        nvidia_driver: Whether a driver of an NVIDIA GPU is loaded.
    """

    kind: Literal["jetson", "x86", "arm", "other"]
    board: str
    l4t: str
    nvidia_driver: bool

    @property
    def l4t_is_old(self) -> bool:
        """Whether this is a Jetson whose TensorRT is too old."""
        numbers = tuple(int(part) for part in re.findall(r"\d+", self.l4t)[:2])
        return bool(numbers) and numbers < OLDEST_L4T

    @property
    def tensorrt_remedy(self) -> str:
        """What installs TensorRT for Python here."""
        if self.kind == "jetson":
            if self.l4t_is_old:
                return "flash JetPack 6.1 or later: this release has an older TensorRT than 10.3"
            return (
                "sudo apt-get install python3-libnvinfer, and make the virtual environment with "
                "--system-site-packages"
            )
        return "pip install tensorrt, on a machine with an NVIDIA GPU"

    @property
    def driver_remedy(self) -> str:
        """What gives CUDA its GPU here."""
        if self.kind == "jetson":
            return "sudo apt-get install nvidia-jetpack"
        return "install NVIDIA's driver: nvidia-smi must list a GPU"


def read_machine(root: Path = Path("/"), architecture: str | None = None) -> Machine:
    """The machine whose file system is at ``root``.

    Args:
        root: Where ``proc``, ``etc`` and ``dev`` are.
        architecture: As :func:`platform.machine` calls it; by default this machine's.
    """
    board = _text(root / "proc/device-tree/model").strip("\0 \n")
    l4t = _l4t(_text(root / "etc/nv_tegra_release"))
    return Machine(
        kind=_kind(board, l4t, architecture or platform.machine()),
        board=board,
        l4t=l4t,
        nvidia_driver=any(
            (root / file).exists() for file in ("proc/driver/nvidia/version", "dev/nvhost-gpu", "dev/nvmap")
        ),
    )


def _kind(board: str, l4t: str, architecture: str) -> Literal["jetson", "x86", "arm", "other"]:
    if l4t or "jetson" in board.lower():
        return "jetson"
    if architecture.lower() in ("x86_64", "amd64"):
        return "x86"
    return "arm" if architecture.lower().startswith(("aarch64", "arm")) else "other"


def _l4t(text: str) -> str:
    found = _RELEASE.search(text)
    return f"R{found[1]}.{found[2]}" if found else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
