"""Which nodes of an ONNX file would leave a Jetson's DLA for its GPU, and what would keep them there.

It is a reading of NVIDIA's public texts (:mod:`edgeseg.export.dla_rules`) and no measurement: TensorRT's
builder has the last word, and edgeseg builds no engine for a DLA.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeseg.export.dla_rules import Reason, first_reason
from edgeseg.runtimes.onnx_graph import read_graph

PROMISES_NOTHING = (
    "No DLA engine is promised or built. Jetson Orin Nano and Thor have no DLA; TensorRT supports it up to "
    "10.7 (JetPack 6), not in JetPack 7.2.0, and again from 11.4.1 on AGX Orin with JetPack 7.2.2. "
    "Source: TensorRT documentation, 'Working with DLA'."
)


@dataclass(frozen=True)
class Departure:
    """A node that would leave the DLA: its name, or what it gives where it has none, and why it leaves."""

    node: str
    op: str
    why: Reason


@dataclass(frozen=True)
class DlaPlan:
    """One file's plan.

    Args:
        nodes: How many there are, constants aside.
        parts: In how many pieces those that stay fall; data crosses over between them.
        departures: Those that leave, in the graph's order.
    """

    nodes: int
    parts: int
    departures: tuple[Departure, ...]

    def summary(self) -> str:
        """One sentence of it."""
        stay = self.nodes - len(self.departures)
        return (
            f"{stay} of {self.nodes} nodes may stay on the DLA, in {self.parts} part(s); "
            f"{len(self.departures)} would leave it."
        )

    def grouped(self) -> list[tuple[str, int, str]]:
        """(operation, how many of it leave, what to change), the most frequent first."""
        counts = Counter((departure.op, departure.why.change) for departure in self.departures)
        return [(op, count, change) for (op, change), count in counts.most_common()]

    def to_dict(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "nodes_that_leave": len(self.departures),
            "parts_on_dla": self.parts,
            "departures": [{"node": d.node, "op": d.op, **asdict(d.why)} for d in self.departures],
        }


def dla_plan(onnx: bytes) -> DlaPlan:
    """The plan for an ONNX file of static shapes.

    Raises:
        ValueError: The bytes are no ONNX model.
    """
    graph = read_graph(onnx)
    nodes = [node for node in graph.nodes if node.op != "Constant"]
    departures: list[Departure] = []
    parts, on_dla = 0, False
    for node in nodes:
        why = first_reason(node, graph)
        if why is not None:
            departures.append(Departure(node.name or node.outputs[0], node.op, why))
        elif not on_dla:
            parts += 1
        on_dla = why is None
    return DlaPlan(len(nodes), parts, tuple(departures))


def report_entry(plans: Mapping[str, DlaPlan]) -> dict[str, Any]:
    """What ``report.json`` holds of the plans; nothing where there are none."""
    if not plans:
        return {}
    files = {file: plan.to_dict() for file, plan in plans.items()}
    return {"dla": {"note": PROMISES_NOTHING, "files": files}}


def markdown(name: str, plans: Mapping[str, DlaPlan]) -> str:
    """The plans of a bundle's files as a page."""
    lines = [f"# DLA plan of {name}", "", PROMISES_NOTHING, ""]
    for file, plan in plans.items():
        lines += [f"## {file}", "", plan.summary(), ""]
        if plan.departures:
            lines += ["| node | operation | why | what to change | source |", "|---|---|---|---|---|"]
            lines += [_row(departure) for departure in plan.departures]
            lines.append("")
    return "\n".join(lines)


def _row(departure: Departure) -> str:
    why = departure.why
    return f"| `{departure.node}` | {departure.op} | {why.reason} | {why.change} | {why.source} |"
