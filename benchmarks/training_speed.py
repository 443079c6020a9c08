"""How fast training is, written down. It knows no Keras: ``edgeseg benchmark-training`` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.host import Host
from edgeseg.tables import markdown_table

HEADER = ("part", "images/s", "ms per batch", "slowest", "fastest")

_WORDS = {
    "network": "forward and backward pass, update; batch on the device",
    "step": "the same with loss and metric",
    "loop": "whole epochs, without validation",
    "data": "making a batch, by itself",
}


@dataclass(frozen=True)
class TrainingSpeedResult:
    """A whole measurement.

    Attributes:
        settings: Model, size, batch, loss, backend, device, precision and the like, as plain values.
        seconds: Part to seconds for a batch, one number per round; the parts are those of ``_WORDS``.
        medians: Part to the median of its rounds.
        loss_share: Loss and metric, as a share of a step.
        loop_share: How much longer a step of the whole loop is than one on a resident batch, as a share.
    """

    created: str
    command: str
    host: Host
    settings: dict[str, Any]
    seconds: dict[str, tuple[float, ...]]
    medians: dict[str, float]
    loss_share: float
    loop_share: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        batch = self.settings["batch"]
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "settings": self.settings,
            "parts": {
                name: {
                    "does": _WORDS[name],
                    "images_per_second": round(batch / self.medians[name], 1),
                    "ms_per_batch": round(1000 * self.medians[name], 3),
                    "rounds_ms": [round(1000 * value, 3) for value in values],
                }
                for name, values in self.seconds.items()
            },
            "loss_and_metric_share": round(self.loss_share, 4),
            "loop_over_step": round(self.loop_share, 4),
        }


def rows(result: TrainingSpeedResult) -> list[list[str]]:
    """One row per part, for ``HEADER``."""
    batch = result.settings["batch"]
    return [
        [
            f"{name}: {_WORDS[name]}",
            f"{batch / result.medians[name]:.1f}",
            *(f"{1000 * value:.2f}" for value in (result.medians[name], max(values), min(values))),
        ]
        for name, values in result.seconds.items()
    ]


def conclusion(result: TrainingSpeedResult) -> str:
    """The two shares in words."""
    return (
        f"Loss and metric are {100 * result.loss_share:.1f} % of a step; a step of the whole loop takes "
        f"{100 * result.loop_share:+.1f} % over one on a resident batch."
    )


def write_training_speed(result: TrainingSpeedResult, path: Path) -> None:
    """``PATH.json`` and ``PATH.md``; ``path`` is given without a suffix."""
    write_documents(result.to_dict(), _markdown(result), path)


def _markdown(result: TrainingSpeedResult) -> str:
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.settings.items())
    host = result.host
    return (
        "# Speed of training\n\n"
        f"`{result.command}`\n\n"
        f"{result.created}. {host.describe()}\n\n"
        f"{settings}. Rounds that take turns, after one that does not count; medians.\n\n"
        f"{markdown_table(HEADER, rows(result))}\n\n{conclusion(result)}\n"
    )
