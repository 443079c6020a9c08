"""The text format of Prometheus, version 0.0.4: what the loop and the service answer on ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4"


@dataclass(frozen=True)
class Metric:
    """One metric with all its samples.

    Args:
        name: As Prometheus asks for it: units spelled out, counters with ``_total``.
        kind: What it is.
        help: One line for people.
        samples: What follows the name, ``{label="value"}`` or a histogram's suffix with it, to its value.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    samples: Mapping[str, float]


def exposition(metrics: Iterable[Metric]) -> str:
    """All of them as text; nothing for none."""
    lines = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        lines += [f"{metric.name}{labels} {value}" for labels, value in metric.samples.items()]
    return "\n".join(lines) + "\n" if lines else ""
