"""What a measurement was made on. A number without its machine says nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Host:
    """The machine and the software under a benchmark; what cannot be read is ``not measured``.

    ``cores`` are those this process may use, ``governor`` is the CPU frequency policy, and ``load`` the
    one-minute load average before the start: on a busy machine the tail of a distribution is not the model's.
    """

    cpu: str
    cores: int
    memory_gib: float
    system: str
    machine: str
    governor: str
    load: float
    python: str
    versions: dict[str, str]

    @property
    def busy(self) -> bool:
        """Whether other work took so much of the machine that it shows in what is measured."""
        return self.load > self.cores / 2

    def describe(self) -> str:
        """What the numbers were measured on, as two sentences, and a third where it was busy."""
        busy = " The machine was busy: repeat this on a quiet one." if self.busy else ""
        return (
            f"{self.cpu}, {self.cores} cores; {self.system}; Python {self.python}. "
            f"Load average before the start {self.load}.{busy}"
        )

    def to_dict(self) -> dict[str, object]:
        return asdict(self)


def describe_host() -> Host:
    """The machine this runs on, now."""
    import cv2
    import numpy as np

    import edgeseg
    from edgeseg.runtimes.choice import available_cores

    return Host(
        cpu=_cpu_model(),
        cores=available_cores(),
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        system=f"{_distribution()}, {platform.system()} {platform.release()}",
        machine=platform.machine(),
        governor=_first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")) or NOT_MEASURED,
        load=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        versions={"edgeseg": edgeseg.__version__, "numpy": np.__version__, "opencv": cv2.__version__},
    )


def _cpu_model() -> str:
    # Jetson and other Arm boards name themselves in the device tree and not in cpuinfo.
    board = _first_line(Path("/proc/device-tree/model")).strip("\0")
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return board or model or platform.processor() or "unknown"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown distribution"


def _first_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").splitlines()[0]
    except (OSError, IndexError):
        return ""
