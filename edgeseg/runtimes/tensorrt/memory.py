"""How much memory there is to build an engine in, and how much of it the builder may take for its trials."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import EngineBuildError
from edgeseg.runtimes.tensorrt.cuda import Gpu

MIB = 1 << 20
GIB = 1 << 30

SMALL_BOARD_BYTES = 9 * GIB
"""Boards sold with 8 GB show less than this; what the builder takes there, the system lacks."""
SMALL_BOARD_WORKSPACE = GIB
LARGEST_WORKSPACE = 4 * GIB
SMALLEST_WORKSPACE = 64 * MIB
BUILDER_BYTES = 512 * MIB
"""Kept for CUDA, the builder's libraries and the network: an estimate, not a measurement."""


def available_memory(gpu: Gpu, free: int, root: Path) -> int:
    """Bytes that can be had. Where GPU and CPU share their memory, those that Linux could free count too.

    Args:
        gpu: The device.
        free: What CUDA says is free.
        root: Where ``proc`` is.
    """
    if not gpu.integrated:
        return free
    return max(free, _mem_available(root))


def workspaces(gpu: Gpu, available: int, model_bytes: int, source: str) -> list[int]:
    """Workspace sizes to try, in bytes, the largest first; each is half of the one before.

    Raises:
        EngineBuildError: There is too little memory for the smallest of them.
    """
    reserve = BUILDER_BYTES + 2 * model_bytes
    if available < reserve + SMALLEST_WORKSPACE:
        raise memory_short(source, reserve + SMALLEST_WORKSPACE, f"{_gib(available)} available")
    most = SMALL_BOARD_WORKSPACE if gpu.integrated and gpu.memory < SMALL_BOARD_BYTES else LARGEST_WORKSPACE
    size = max(min(most, (available - reserve) // 2), SMALLEST_WORKSPACE)
    sizes = []
    while size >= SMALLEST_WORKSPACE:
        sizes.append(size // MIB * MIB)
        size //= 2
    return sizes


def memory_short(source: str, needed: int, found: str) -> EngineBuildError:
    """What is said where memory does not suffice."""
    return EngineBuildError(
        source,
        expected=f"{_gib(needed)} of free memory to build a TensorRT engine",
        found=found,
        next_step="Close other programs; on a Jetson end the desktop (sudo systemctl isolate "
        "multi-user.target) or add swap; or export a smaller input size.",
    )


def _mem_available(root: Path) -> int:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        name, _, value = line.partition(":")
        amount = value.split()
        if name == "MemAvailable" and amount and amount[0].isdigit():
            return int(amount[0]) * 1024
    return 0


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
