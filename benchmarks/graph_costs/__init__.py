"""What one inference of a model file costs, counted in its own graph: one file here for each format."""

from __future__ import annotations

from collections.abc import Callable

from edgeseg.benchmarks.graph_costs.base import GraphCost, LayerCost
from edgeseg.benchmarks.graph_costs.litert import litert_cost
from edgeseg.benchmarks.graph_costs.onnx import onnx_cost
from edgeseg.benchmarks.graph_costs.openvino import openvino_cost

__all__ = ["FORMATS", "GraphCost", "LayerCost"]

FORMATS: dict[str, Callable[[str, bytes], GraphCost]] = {
    "tflite": litert_cost,
    "onnx": onnx_cost,
    "openvino": openvino_cost,
}
"""Format, as a bundle's manifest calls it, to its counter: the file's name, for messages, and its bytes."""
