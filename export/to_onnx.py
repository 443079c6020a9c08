"""Keras to ONNX, with the whole graph contract in the file.

tf2onnx converts the model up to its logits. Class map and confidence are then appended to the ONNX graph
itself, on the channels-first logits that the last convolution gives, so that no transpose is left at the
end of the graph.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.bundle.manifest import Output
from edgeseg.export.converter import Signature, converting, signature_of

if TYPE_CHECKING:
    import keras
    import onnx

OPSET = 17
"""Read by ONNX Runtime 1.12 and later and by TensorRT 8.6 and later."""

_ADVICE = "Try --format litert, or another model; --debug shows all that the converter said."
_CHANNELS = 1
_RESIZE_RULE = "coordinate_transformation_mode"
_TO_NHWC = [0, 2, 3, 1]


def convert_onnx(model: keras.Model, output: Output) -> onnx.ModelProto:
    """Convert a model to an fp32 ONNX graph of static batch 1: ``image`` uint8 to uint8 or float32 logits.

    Raises:
        ConversionError: The model does not keep to the contract, or holds an operation ONNX does not have.
    """
    signature = signature_of(model, output)
    with converting("conversion to ONNX", _ADVICE):
        import onnx
        import onnxslim

        graph = _logits_graph(model, signature)
        if output != "logits":
            _append_outputs(graph, signature)
        slim = onnx.shape_inference.infer_shapes(onnxslim.slim(graph))
        _spell_nearest_resize_plainly(slim)
        onnx.checker.check_model(slim, full_check=True)
        return slim


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that computes in float16, written into the graph; inputs and outputs stay as they are.

    Raises:
        ConversionError: The converter failed.
    """
    with converting("conversion to ONNX fp16", _ADVICE):
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        converted = convert_float_to_float16(copy, keep_io_types=True)
        _put_in_order(converted.graph)
        half = onnx.shape_inference.infer_shapes(converted)
        onnx.checker.check_model(half, full_check=True)
        return half


def _put_in_order(graph: onnx.GraphProto) -> None:
    """Each node after those that it needs: the converter puts its casts around fp32 nodes at the end."""
    known = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    waiting, ordered = list(graph.node), []
    while waiting:
        late = []
        for node in waiting:
            if known.issuperset(node.input):
                ordered.append(node)
                known.update(node.output)
            else:
                late.append(node)
        if len(late) == len(waiting):
            raise ValueError(f"nodes that need each other: {', '.join(node.name for node in late)}")
        waiting = late
    del graph.node[:]
    graph.node.extend(ordered)


def _logits_graph(model: keras.Model, signature: Signature) -> onnx.ModelProto:
    # from_function, because model.export(format="onnx") loses constants of keras.applications' EfficientNet.
    import tensorflow as tf
    import tf2onnx

    spec = tf.TensorSpec((1, signature.height, signature.width, 3), tf.uint8, name="image")

    @tf.function(input_signature=[spec])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"logits": model(image, training=False)}

    with _copies_let_go():
        graph, _ = tf2onnx.convert.from_function(serve, input_signature=[spec], opset=OPSET)
    return graph


@contextmanager
def _copies_let_go() -> Iterator[None]:
    """Free at once what tf2onnx leaves: a copy of the graph, weights and all, for each step of its optimiser.

    The copies point at themselves and Python came to them late: SegFormer B4 took more than 20 GB.
    """
    from tf2onnx import optimizer

    def collecting(factory: Callable[[], Any]) -> Callable[[], Any]:
        def made() -> Any:
            gc.collect()
            return factory()

        return made

    known = dict(optimizer._optimizers)
    gc.freeze()  # What was there before is not searched each time.
    try:
        optimizer._optimizers.update({name: collecting(factory) for name, factory in known.items()})
        yield
    finally:
        optimizer._optimizers.update(known)
        gc.unfreeze()


def _append_outputs(model: onnx.ModelProto, signature: Signature) -> None:
    from onnx import TensorProto, helper

    logits = _channels_first_logits(model)
    # Float between int64 and uint8: TensorRT makes uint8 outputs from floating point alone.
    nodes = [
        helper.make_node("ArgMax", [logits], ["class_ids"], axis=_CHANNELS, keepdims=0),
        helper.make_node("Cast", ["class_ids"], ["class_ids_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["class_ids_float"], ["mask"], to=TensorProto.UINT8),
    ]
    if signature.output == "mask+confidence":
        full = helper.make_tensor("full_confidence", TensorProto.FLOAT, [], [np.float32(255)])
        model.graph.initializer.append(full)
        nodes += [
            helper.make_node("Softmax", [logits], ["probabilities"], axis=_CHANNELS),
            helper.make_node("ReduceMax", ["probabilities"], ["top"], axes=[_CHANNELS], keepdims=0),
            helper.make_node("Mul", ["top", full.name], ["top_scaled"]),
            helper.make_node("Round", ["top_scaled"], ["top_rounded"]),
            helper.make_node("Cast", ["top_rounded"], ["confidence"], to=TensorProto.UINT8),
        ]
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.UINT8, signature.output_shape)
        for name in signature.output_names
    )


def _channels_first_logits(model: onnx.ModelProto) -> str:
    """The name of the logits ``[1, C, H, W]``; the graph's own transpose of them to ``[1, H, W, C]`` goes."""
    from onnx import helper

    last = model.graph.node[-1]
    if last.op_type == "Transpose" and list(helper.get_attribute_value(last.attribute[0])) == _TO_NHWC:
        model.graph.node.remove(last)
        return last.input[0]
    model.graph.node.append(
        helper.make_node("Transpose", ["logits"], ["logits_channels_first"], perm=[0, 3, 1, 2])
    )
    return "logits_channels_first"


def _spell_nearest_resize_plainly(model: onnx.ModelProto) -> None:
    """Enlarging by whole factors, ``asymmetric`` is bit-equal to what TensorRT's parser refuses."""
    from onnx import helper

    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info}
    for node in model.graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if attributes.get(_RESIZE_RULE) != b"tf_half_pixel_for_nn":
            continue
        before, after = shapes[node.input[0]], shapes[node.output[0]]
        if all(size % smaller == 0 for size, smaller in zip(after, before, strict=True)):
            kept = [a for a in node.attribute if a.name != _RESIZE_RULE]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(_RESIZE_RULE, "asymmetric")])
