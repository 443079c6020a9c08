"""Small models as other projects would hand them over, and what they give of a frame, in NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEIGHT, WIDTH = 32, 48
NAMES = ("road", "car", "sky", "tree")
WEIGHTS = np.random.default_rng(3).normal(size=(len(NAMES), 3)).astype(np.float32)
"""Of a 1x1 convolution: logits ``[C]`` of a pixel ``[3]``."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def write_labels(folder: Path, names: Sequence[str] = NAMES) -> Path:
    path = folder / "labels.yaml"
    path.write_text(f"classes: [{', '.join(names)}]\n", encoding="utf-8")
    return path


def frames(count: int = 3) -> np.ndarray:
    """Frames of large patches of colour with a little noise, ``uint8 [count, H, W, 3]``."""
    rng = np.random.default_rng(5)
    patches = rng.integers(0, 256, (count, HEIGHT // 8, WIDTH // 8, 3)).astype(np.float32)
    large = patches.repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(large + rng.normal(0, 6, large.shape), 0, 255).astype(np.uint8)


def scaled(frame: np.ndarray, scale: str) -> np.ndarray:
    """What training made of a frame: ``float64 [H, W, 3]``."""
    image = frame.astype(np.float64)
    if scale == "imagenet":
        mean, deviation = map(np.array, IMAGENET)
        return (image / 255 - mean) / deviation
    return {"none": image, "0to1": image / 255, "minus1to1": image / 127.5 - 1}[scale]


def logits(pixels: np.ndarray, stride: int = 1) -> np.ndarray:
    """What the models here compute, brought to the frame's size: ``float64 [H, W, C]``."""
    small = pixels[::stride, ::stride] @ WEIGHTS.T.astype(np.float64)
    return cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def onnx_file(
    path: Path,
    *,
    layout: str = "NCHW",
    dtype: str = "float32",
    stride: int = 1,
    gives: str = "scores",
    out_layout: str = "NCHW",
    quantised: tuple[float, int] | None = None,
    open_sizes: bool = False,
    opset: int = 17,
    turned_first: bool = False,
    weights: np.ndarray = WEIGHTS,
) -> Path:
    """A 1x1 convolution with a stride; ``gives`` scores, ids (int64, no channels) or one channel.

    ``turned_first`` turns NHWC codes to NCHW before they are dequantised, as converters do.
    """
    types = {"float32": "FLOAT", "float16": "FLOAT16", "uint8": "UINT8", "int8": "INT8"}
    constants = {"weights": weights[..., None, None] if gives != "one" else weights[:1, :, None, None]}
    nodes, now = [], "data"
    if quantised:
        constants |= {"scale": np.float32(quantised[0]), "zero": np.array(quantised[1], dtype)}
        if turned_first:
            nodes.append(helper.make_node("Transpose", [now], ["codes"], perm=[0, 3, 1, 2]))
            now = "codes"
        nodes.append(helper.make_node("DequantizeLinear", [now, "scale", "zero"], ["real"]))
    else:
        nodes.append(helper.make_node("Cast", [now], ["real"], to=TensorProto.FLOAT))
    if layout == "NHWC" and not turned_first:
        nodes.append(helper.make_node("Transpose", ["real"], ["turned"], perm=[0, 3, 1, 2]))
    now = nodes[-1].output[0]
    nodes.append(helper.make_node("Conv", [now, "weights"], ["scores"], strides=[stride, stride]))
    out = "scores"
    if gives == "ids":
        nodes.append(helper.make_node("ArgMax", [out], ["ids"], axis=1, keepdims=0))
        out = "ids"
    elif out_layout == "NHWC":
        nodes.append(helper.make_node("Transpose", [out], ["last"], perm=[0, 2, 3, 1]))
        out = "last"
    sizes: list[int | str] = ["height", "width"] if open_sizes else [HEIGHT, WIDTH]
    shape = [1, *sizes, 3] if layout == "NHWC" else ["batch" if open_sizes else 1, 3, *sizes]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("data", getattr(TensorProto, types[dtype]), shape)],
        [
            helper.make_tensor_value_info(
                out, TensorProto.INT64 if gives == "ids" else TensorProto.FLOAT, None
            )
        ],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def add_output(path: Path, name: str) -> None:
    """Let a tensor inside the graph be a further output."""
    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    path.write_bytes(model.SerializeToString())
