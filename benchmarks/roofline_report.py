"""A roofline written down: ``roofline.json``, ``roofline.md`` and ``roofline.png``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.peaks import Peaks
from edgeseg.benchmarks.roofline import Placed
from edgeseg.tables import markdown_table

HEADER = (
    "model",
    "runtime",
    "GMACs",
    "int8, %",
    "MB",
    "MACs/byte",
    "infer p50, ms",
    "GMACs/s",
    "of compute peak, %",
    "of roof, %",
    "bound by",
)
SHORT_HEADER = ("model", "runtime", "GMACs", "MACs/byte", "ms", "GMACs/s", "of roof, %")
"""For a terminal, which is narrow."""
PEAKS_HEADER = ("peak", "rate", "lowest round", "highest round", "kernel", "measured with")
PICTURE = "roofline.png"
_UNKNOWN = "n/a"


@dataclass(frozen=True)
class Roofline:
    """A whole measurement, with what it was made on; ``settings`` are plain values."""

    created: str
    command: str
    host: Host
    settings: dict[str, Any]
    models: tuple[Placed, ...]

    @property
    def peaks(self) -> Peaks:
        return self.models[0].peaks

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "settings": self.settings,
            "peaks_per_second": self.peaks.to_dict(),
            "models": [model.to_dict() for model in self.models],
        }


def rows(models: Iterable[Placed]) -> list[list[str]]:
    """One row per model, for ``HEADER``."""
    return [
        [
            model.name,
            str(model.loaded),
            f"{model.cost.macs / 1e9:.3f}",
            f"{100 * model.cost.integer_macs / model.cost.macs:.0f}",
            f"{model.bytes / 1e6:.2f}",
            f"{model.intensity:.1f}",
            f"{model.infer.p50:.2f}",
            f"{model.macs_per_second / 1e9:.1f}",
            _percent(model.share(model.compute_peak)),
            _percent(model.share(model.roof)),
            model.bound if model.roof else _UNKNOWN,
        ]
        for model in models
    ]


def short_rows(models: Iterable[Placed]) -> list[list[str]]:
    """One row per model, for ``SHORT_HEADER``."""
    columns = [HEADER.index(name) for name in ("model", "runtime", "GMACs", "MACs/byte")]
    columns += [HEADER.index(name) for name in ("infer p50, ms", "GMACs/s", "of roof, %")]
    return [[row[column] for column in columns] for row in rows(models)]


def peak_rows(peaks: Peaks) -> list[list[str]]:
    """One row per peak, for ``PEAKS_HEADER``."""
    named = [(name, "GMACs/s", peak) for name, peak in peaks.compute.items()]
    return [
        [
            name,
            *(f"{rate / 1e9:.1f} {unit}" for rate in (peak.per_second, min(peak.rounds), max(peak.rounds))),
            peak.kernel,
            peak.library,
        ]
        for name, unit, peak in [*named, ("memory", "GB/s", peaks.memory)]
    ]


def write_roofline(result: Roofline, folder: Path) -> None:
    """``roofline.json`` and ``roofline.md``; the page shows the picture, which is drawn apart."""
    write_documents(result.to_dict(), _markdown(result), folder / "roofline")


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{100 * share:.0f}"


def _markdown(result: Roofline) -> str:
    host, settings = result.host, result.settings
    missing = [name for name in ("int8", "bf16") if name not in result.peaks.compute]
    absent = f" This CPU computes no {' and no '.join(missing)} of its own." if missing else ""
    versions = dict.fromkeys(f"{m.loaded.runtime} {m.loaded.runtime_version}" for m in result.models)
    paragraphs = [
        "# Roofline",
        f"`{result.command}`",
        f"{result.created}. {host.describe()} {', '.join(versions)}.",
        f"![Multiply-accumulates a second against multiply-accumulates per byte]({PICTURE})",
        "## Models",
        markdown_table(HEADER, rows(result.models)),
        f"{settings['frames']} inferences of each model in {settings['rounds']} rounds that take turns with "
        f"the peaks, {settings['threads']} threads. {_MODELS}",
        "## Peaks of this machine",
        markdown_table(PEAKS_HEADER, peak_rows(result.peaks)),
        f"Medians of {len(result.peaks.memory.rounds)} rounds, on as many threads.{absent} {_PEAKS}",
    ]
    return "\n\n".join(paragraphs) + "\n"


_MODELS = (
    "GMACs are thousands of millions of multiply-accumulates of one inference, counted in the file that ran: "
    "convolutions, dense layers and matrix products, padding included; int8 is their share whose factors are "
    "stored in 8 bits. MB are millions of bytes that these layers read and write: input, weights and output "
    "once per layer, at the width in which they lie in memory, which is one byte in int8 and two where "
    "OpenVINO computes in bfloat16. Caches save a part of that traffic, so a model may exceed its memory "
    "roof; resizes, concatenations and the argmax are not counted, though the time of the inference holds "
    "them. A share is of the peaks below, each layer at that of its precision."
)
_PEAKS = (
    "They are what these kernels reached here, not what a data sheet says: a share of 100 % is as fast as "
    "that library's large kernels, and a better kernel exceeds it. Memory counts the bytes that an operation "
    "reads and writes, on arrays far larger than the caches."
)
