"""Toy bundles and videos, made without Keras: what the tests of every part stand on."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeseg.bundle.manifest import Manifest

# File suffix to the format's name in the manifest, and to the runtime.
STORED = {".onnx": ("onnx", "onnx"), ".tflite": ("tflite", "litert"), ".xml": ("openvino", "openvino")}
CLASSES = (("red", (220, 40, 40)), ("green", (40, 200, 80)), ("blue", (60, 80, 230)))


def write_bundle(
    folder: Path,
    *,
    height: int = 32,
    width: int = 64,
    output: str = "mask",
    model: bytes | None = None,
    golden: bytes | None = None,
    file: str = "model.onnx",
    weights: bytes | None = None,
    **changes: Any,
) -> Path:
    members = {
        file: onnx_model(height, width, output) if model is None else model,
        **({} if weights is None else {"model.bin": weights}),
        "golden.npz": golden_archive(height, width) if golden is None else golden,
        "report.json": b"{}\n",
    }
    values = manifest_values(folder.stem, height, width, output, file, members)
    manifest = Manifest.model_validate({**values, **changes})
    folder.mkdir(parents=True)
    for member, data in members.items():
        (folder / member).write_bytes(data)
    (folder / "manifest.json").write_bytes(manifest.to_bytes())
    return folder


def manifest_values(
    name: str, height: int, width: int, output: str, file: str, members: Mapping[str, bytes]
) -> dict[str, Any]:
    parity = {
        "runtime": "onnx",
        "samples": 2,
        "agreement": 1.0,
        "keras_miou": 0.5,
        "miou": 0.5,
        "drop_points": 0.0,
        "class_drop_points": {label: 0.0 for label, _ in CLASSES},
        "max_drop_points": 1.0,
    }
    one_map = (1, height, width)
    stored, runtime = STORED[Path(file).suffix]
    return {
        "name": name,
        "created": "2025-01-01T00:00:00+00:00",
        "target": "x86",
        "precision": "fp32",
        "input": {"height": height, "width": width},
        "output": {
            "kind": output,
            "dtype": "float32" if output == "logits" else "uint8",
            "shape": (*one_map, len(CLASSES)) if output == "logits" else one_map,
        },
        "labels": {
            "name": "channels",
            "ignore_index": 255,
            "classes": [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(CLASSES)],
        },
        "models": [
            {
                "file": file,
                "format": stored,
                "weights": "model.bin" if "model.bin" in members else None,
                "precision": "fp32",
                "parity": parity,
                "golden_min_agreement": 0.999,
            }
        ],
        "members": [
            {"file": n, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for n, data in members.items()
        ],
        "runtime": {
            "names": [runtime],
            "verified_with": {"onnx": "1.0"},
        },
        "lineage": {
            "model": "toy",
            "recipe_hash": "0" * 8,
            "dataset": "synthetic",
            "dataset_fingerprint": "0" * 8,
            "keras_file_sha256": "0" * 64,
            "tools": {},
        },
        "build": {"state": "complete"},
    }


def golden_archive(height: int, width: int, *, frames: int = 2) -> bytes:
    images = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    file = io.BytesIO()
    np.savez_compressed(file, frames=images, masks_fp32=np.argmax(images, axis=-1).astype(np.uint8))
    return file.getvalue()


def onnx_model(height: int, width: int, output: str = "mask", *, domain: str = "") -> bytes:
    """``frame`` uint8 [1, H, W, 3] to the class of each pixel's strongest channel."""
    one_map = [1, height, width]
    nodes = [
        helper.make_node("Cast", ["frame"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["pixels", "weights"], ["logits"], domain=domain),
    ]
    outputs = {"logits": (TensorProto.FLOAT, [*one_map, len(CLASSES)])}
    if output != "logits":
        nodes += [
            helper.make_node("ArgMax", ["logits"], ["index"], axis=3, keepdims=0),
            helper.make_node("Cast", ["index"], ["index_float"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["index_float"], ["mask"], to=TensorProto.UINT8),
        ]
        outputs = {"mask": (TensorProto.UINT8, one_map)}
    if output == "mask+confidence":
        nodes += [
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=3),
            helper.make_node("ReduceMax", ["probabilities", "axis"], ["top"], keepdims=0),
            helper.make_node("Mul", ["top", "full"], ["scaled"]),
            helper.make_node("Cast", ["scaled"], ["confidence"], to=TensorProto.UINT8),
        ]
        # First, and still told apart by its name.
        outputs = {"confidence": (TensorProto.UINT8, one_map), **outputs}
    graph = helper.make_graph(
        nodes,
        "strongest-channel",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [*one_map, 3])],
        [helper.make_tensor_value_info(n, dtype, shape) for n, (dtype, shape) in outputs.items()],
        [
            numpy_helper.from_array(np.eye(3, dtype=np.float32), "weights"),
            numpy_helper.from_array(np.array([3], np.int64), "axis"),
            numpy_helper.from_array(np.array(255, np.float32), "full"),
        ],
    )
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    return model.SerializeToString()


def tflite_model(height: int, width: int, *, custom: str | None = None) -> bytes:
    """The same graph for LiteRT, built table by table so that it needs no TensorFlow."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    types, ops = schema.TensorType, schema.BuiltinOperator

    def tensor(name: str, shape: list[int], dtype: int, buffer: int = 0) -> Any:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, shape, dtype, buffer
        return made

    def operator(index: int, inputs: list[int], outputs: list[int], kind: int, options: Any) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = index, inputs, outputs
        made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    def code(builtin: int) -> Any:
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = builtin
        made.version = 1
        return made

    arg_max, cast = schema.ArgMaxOptionsT(), schema.CastOptionsT()
    arg_max.outputType = cast.inDataType = types.INT32
    cast.outDataType = types.UINT8
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor("frame", [1, height, width, 3], types.UINT8),
        tensor("axis", [1], types.INT32, 1),
        tensor("index", [1, height, width], types.INT32),
        tensor("mask", [1, height, width], types.UINT8),
    ]
    graph.inputs, graph.outputs = [0], [3]
    options = schema.BuiltinOptions
    graph.operators = [
        operator(0, [0, 1], [2], options.ArgMaxOptions, arg_max),
        operator(1, [2], [3], options.CastOptions, cast),
    ]
    empty, axis = schema.BufferT(), schema.BufferT()
    axis.data = list(np.array([3], np.int32).tobytes())
    model = schema.ModelT()
    model.version, model.subgraphs, model.buffers = 3, [graph], [empty, axis]
    model.operatorCodes = [code(ops.ARG_MAX), code(ops.CAST)]
    if custom:
        model.operatorCodes[1] = code(ops.CUSTOM)
        model.operatorCodes[1].customCode = custom
        graph.operators[1].builtinOptionsType, graph.operators[1].builtinOptions = 0, None
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def openvino_model(height: int, width: int) -> tuple[str, bytes]:
    """The same graph for OpenVINO, as text, and its weights; written by hand so that it needs no OpenVINO."""
    frame, one, plane = (1, height, width, 3), (1, height, width, 1), (1, height, width)
    shape = ",".join(map(str, frame))
    layers = [
        _layer(0, "frame", "Parameter", f'shape="{shape}" element_type="u8"', [], [("U8", frame)]),
        _layer(1, "pixels", "Convert", 'destination_type="f32"', [("U8", frame)], [("FP32", frame)]),
        _layer(2, "one", "Const", 'element_type="i64" shape="" offset="0" size="8"', [], [("I64", ())]),
        _layer(
            3, "top", "TopK", 'axis="3" mode="max" sort="value" index_element_type="i64"',
            [("FP32", frame), ("I64", ())], [("FP32", one), ("I64", one)],
        ),
        _layer(4, "axis", "Const", 'element_type="i64" shape="1" offset="8" size="8"', [], [("I64", (1,))]),
        _layer(5, "index", "Squeeze", "", [("I64", one), ("I64", (1,))], [("I64", plane)]),
        _layer(6, "mask", "Convert", 'destination_type="u8"', [("I64", plane)], [("U8", plane)]),
        _layer(7, "result", "Result", "", [("U8", plane)], []),
    ]  # fmt: skip
    # From layer and port to layer and port; a layer's outputs are numbered after its inputs.
    edges = [(0, 0, 1, 0), (1, 1, 3, 0), (2, 0, 3, 1), (3, 3, 5, 0), (4, 0, 5, 1), (5, 2, 6, 0), (6, 1, 7, 0)]
    wires = "".join(
        f'<edge from-layer="{a}" from-port="{p}" to-layer="{b}" to-port="{q}"/>' for a, p, b, q in edges
    )
    graph = (
        f'<?xml version="1.0"?><net name="toy" version="11"><layers>{"".join(layers)}</layers>'
        f"<edges>{wires}</edges></net>"
    )
    return graph, np.array([1, 3], np.int64).tobytes()


def _layer(
    index: int,
    name: str,
    kind: str,
    attributes: str,
    inputs: list[tuple[str, tuple[int, ...]]],
    outputs: list[tuple[str, tuple[int, ...]]],
) -> str:
    def ports(tag: str, some: list[tuple[str, tuple[int, ...]]], first: int) -> str:
        named = f' names="{name}"' if tag == "output" else ""
        each = "".join(
            f'<port id="{first + i}" precision="{dtype}"{named if len(some) == 1 else ""}>'
            + "".join(f"<dim>{size}</dim>" for size in shape)
            + "</port>"
            for i, (dtype, shape) in enumerate(some)
        )
        return f"<{tag}>{each}</{tag}>" if some else ""

    data = f"<data {attributes}/>" if attributes else ""
    return (
        f'<layer id="{index}" name="{name}" type="{kind}" version="opset1">{data}'
        f"{ports('input', inputs, 0)}{ports('output', outputs, len(inputs))}</layer>"
    )


def model_for(runtime: str, height: int = 32, width: int = 64) -> dict[str, Any]:
    """What ``write_bundle`` needs for a bundle of this runtime."""
    if runtime == "litert":
        return {"file": "model.tflite", "model": tflite_model(height, width)}
    if runtime == "openvino":
        graph, weights = openvino_model(height, width)
        return {"file": "model.xml", "model": graph.encode(), "weights": weights}
    return {"file": "model.onnx", "model": onnx_model(height, width)}


def write_video(
    path: Path, *, frames: int = 30, fps: float = 25.0, height: int = 64, width: int = 128
) -> Path:
    """A red square that walks to the right over grey, so that a frame's number can be seen in it."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, (width, height))
    for index in range(frames):
        picture = np.full((height, width, 3), 90, np.uint8)
        left = index * (width - 16) // max(frames - 1, 1)
        picture[24:40, left : left + 16] = (40, 40, 250)
        writer.write(picture)
    writer.release()
    return path


def read_frames(path: Path) -> tuple[list[np.ndarray], float]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, picture = capture.read()
        if not there:
            break
        frames.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    fps = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return frames, fps
