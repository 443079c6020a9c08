"""The DLA plan: which nodes leave, by which of NVIDIA's rules, and what would keep them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeseg.bundle import Bundle
from edgeseg.errors import UsageError
from edgeseg.export.dla import dla_plan
from edgeseg.export.dla_rules import OPERATORS, RANGES, RESTRICTIONS
from edgeseg.export.plan import ExportOptions, plans_of

HALF = TensorProto.FLOAT16


def one(
    op: str,
    shape: Any,
    out: Any,
    *,
    weights: Any = None,
    dtype: int = HALF,
    inputs: Any = ("x",),
    **attributes: Any,
) -> bytes:
    """A graph of one node."""
    constants = [] if weights is None else [numpy_helper.from_array(np.ones(weights, np.float16), "w")]
    names = [*inputs, *(["w"] if constants else [])]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["out"], name="it", **attributes)],
        "one",
        [helper.make_tensor_value_info(name, dtype, shape) for name in inputs if name],
        [helper.make_tensor_value_info("out", dtype, out)],
        constants,
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())


MAP, DOUBLE = [1, 8, 16, 16], [1, 8, 32, 32]
UP = {"weights": (8, 8, 2, 2), "kernel_shape": [2, 2], "strides": [2, 2]}
SAME = {"weights": (8, 8, 3, 3), "kernel_shape": [3, 3], "strides": [2, 2]}
CONV = {"weights": (8, 8, 3, 3), "kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
BY = "coordinate_transformation_mode"

STAY: dict[str, bytes] = {
    "convolution": one("Conv", MAP, MAP, **CONV),
    "dilated": one("Conv", MAP, MAP, **{**CONV, "dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    "depthwise": one("Conv", MAP, MAP, **{**CONV, "weights": (8, 1, 3, 3)}, group=8),
    "kernel 2, stride 2": one("ConvTranspose", MAP, DOUBLE, **UP),
    "bilinear": one("Resize", MAP, DOUBLE, mode="linear", **{BY: "half_pixel"}),
    "nearest": one("Resize", MAP, DOUBLE, mode="nearest", **{BY: "asymmetric"}),
    "pooling": one("MaxPool", MAP, [1, 8, 8, 8], kernel_shape=[2, 2], strides=[2, 2]),
    "joined channels": one("Concat", MAP, [1, 16, 16, 16], inputs=("x", "y"), axis=1),
    "relu": one("Relu", MAP, MAP),
}

LEAVE: dict[str, tuple[bytes, str, str]] = {
    "same padding": (
        one("ConvTranspose", MAP, DOUBLE, **SAME, pads=[0, 0, 1, 1]),
        "3×3 with padding",
        "kernel 2",
    ),
    "auto padding": (
        one("ConvTranspose", MAP, DOUBLE, **SAME, auto_pad="SAME_UPPER"),
        "with padding",
        "kernel 2",
    ),
    "output padding": (
        one("ConvTranspose", MAP, DOUBLE, **SAME, output_padding=[1, 1]),
        "padding",
        "kernel 2",
    ),
    "grouped": (one("ConvTranspose", MAP, DOUBLE, **UP, group=8), "grouped", "kernel 2"),
    "dilated up": (one("ConvTranspose", MAP, DOUBLE, **UP, dilations=[2, 2]), "dilated", "kernel 2"),
    "large kernel": (one("Conv", MAP, MAP, weights=(8, 8, 33, 33)), "33, 33.*from 1 to 32", "32"),
    "stride": (one("Conv", MAP, MAP, **CONV, strides=[9, 9]), "stride.*from 1 to 8", "8"),
    "rate": (one("Conv", MAP, MAP, **CONV, dilations=[36, 36]), "dilation.*36", "32"),
    "1D": (one("Conv", [1, 8, 16], [1, 8, 16], weights=(8, 8, 3)), "two-dimensional", "two"),
    "align corners": (
        one("Resize", MAP, DOUBLE, mode="linear", **{BY: "align_corners"}),
        "align_corners",
        "half",
    ),
    "cubic": (one("Resize", MAP, DOUBLE, mode="cubic"), "'cubic'", "nearest"),
    "broken factor": (one("Resize", MAP, [1, 8, 24, 24]), "whole factors", "whole"),
    "huge factor": (one("Resize", [1, 8, 1, 1], [1, 8, 64, 64]), "whole factors up to 32", "whole"),
    "window": (one("AveragePool", MAP, [1, 8, 1, 1], kernel_shape=[16, 16]), "window.*16", "from 1 to 8"),
    "joined rows": (one("Concat", MAP, [1, 8, 32, 16], inputs=("x", "y"), axis=2), "axis 2", "channels"),
    "argmax": (one("ArgMax", MAP, [1, 16, 16], axis=1, keepdims=0), "no native", "--output logits"),
    "global pool": (one("GlobalAveragePool", MAP, [1, 8, 1, 1]), "no native", "squeeze"),
    "swish": (one("HardSwish", MAP, MAP), "no native", "ReLU"),
    "cast": (one("Cast", MAP, MAP, to=TensorProto.UINT8, dtype=TensorProto.UINT8), "casts uint8", "uint8"),
    "fp32": (one("Relu", MAP, MAP, dtype=TensorProto.FLOAT), "'x' is fp32", "fp16 file"),
    "size": (one("Relu", [1, 8, 4, 9000], [1, 8, 4, 9000]), "exceeds 8192", "smaller"),
    "batch": (one("Relu", [5000, 8, 4, 4], [5000, 8, 4, 4]), "over 4096", "batch of 1"),
    "attention": (one("MatMul", MAP, MAP, inputs=("x", "y")), "both computed", "attention"),
    "tokens": (one("Softmax", [1, 64, 32], [1, 64, 32]), r"not \[N, C, H, W\]", "four"),
}
FROM_MEMORY = {"large kernel", "stride", "rate", "window"}
BY_THE_MATRIX = {"argmax", "global pool", "swish", "attention"}


@pytest.mark.parametrize("case", STAY)
def test_what_may_stay(case: str) -> None:
    plan = dla_plan(STAY[case])
    assert (plan.departures, plan.nodes, plan.parts) == ((), 1, 1)


@pytest.mark.parametrize("case", LEAVE)
def test_what_leaves_and_why(case: str) -> None:
    data, reason, change = LEAVE[case]
    (departure,) = dla_plan(data).departures
    assert departure.node == "it"
    told = OPERATORS if case in BY_THE_MATRIX else RANGES if case in FROM_MEMORY else RESTRICTIONS
    assert departure.why.source == told
    assert re.search(reason, departure.why.reason), departure.why.reason
    assert re.search(change, departure.why.change), departure.why.change


def test_parts_are_counted() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("HardSwish", ["b"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
    ]
    ports = [helper.make_tensor_value_info(name, HALF, MAP) for name in ("x", "d")]
    model = helper.make_model(helper.make_graph(nodes, "parts", ports[:1], ports[1:]))
    plan = dla_plan(model.SerializeToString())
    assert (plan.nodes, plan.parts, len(plan.departures)) == (4, 2, 1)
    assert plan.summary() == "3 of 4 nodes may stay on the DLA, in 2 part(s); 1 would leave it."


def test_only_a_target_with_a_dla_has_a_plan() -> None:
    with pytest.raises(UsageError, match="--dla"):
        plans_of(ExportOptions(target="arm", dla=True))


@pytest.mark.heavy
def test_an_export_shows_the_plan_and_writes_it_beside_and_into_the_bundle(checkpoint, tmp_path) -> None:
    command = [sys.executable, "-m", "edgeseg", "export", str(checkpoint), "--target", "jetson", "--dla"]
    command += ["--max-drop", "10", "--out", str(tmp_path)]
    ran = subprocess.run(command, check=False, timeout=300, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(Bundle.open(tmp_path / "small-jetson-fp16.edgeseg").members["report.json"])["dla"]
    plan = report["files"]["model.fp16.onnx"]
    assert "promised" in report["note"]
    assert {d["op"] for d in plan["departures"]} == {"Cast", "ArgMax"}
    stay = plan["nodes"] - plan["nodes_that_leave"]
    assert f"DLA:     model.fp16.onnx: {stay} of {plan['nodes']} nodes may stay" in ran.stderr
    assert "1× ArgMax: export with --output logits" in ran.stderr
    page = (tmp_path / "small-jetson-fp16.dla.md").read_text()
    assert "| ArgMax |" in page
    assert "Orin Nano and Thor have no DLA" in page
