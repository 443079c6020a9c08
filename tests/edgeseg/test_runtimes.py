"""Each runtime on the smallest graph there is, and on graphs that must not run."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeseg import load
from edgeseg.bundle import Bundle
from edgeseg.errors import (
    BundleError,
    InferenceError,
    MissingExtraError,
    RuntimeUnavailableError,
    UnknownNameError,
    UnsafeModelError,
    UsageError,
)
from edgeseg.runtimes import RUNTIMES
from edgeseg.runtimes.choice import MAX_DEFAULT_THREADS, choose_model, choose_threads
from edgeseg.runtimes.onnx_wire import has_external_data


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 64, 3)).astype(np.uint8)


def test_masks_are_the_graphs(runtime_bundle: Path, image: np.ndarray) -> None:
    with load(runtime_bundle) as segmenter:
        mask = segmenter.predict(image)
    assert mask.dtype == np.uint8
    np.testing.assert_array_equal(mask, image.argmax(-1))


def test_masks_belong_to_the_caller(runtime_bundle: Path, image: np.ndarray) -> None:
    with load(runtime_bundle) as segmenter:
        first = segmenter.predict(image)
        kept = first.copy()
        segmenter.predict(255 - image)
        first_again = segmenter.predict(image)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(first, first_again)


def test_views_that_are_not_contiguous_are_read_right(runtime_bundle: Path, image: np.ndarray) -> None:
    with load(runtime_bundle) as segmenter:
        mask = segmenter.predict(image[:, ::-1, ::-1])
    np.testing.assert_array_equal(mask, image[:, ::-1, ::-1].argmax(-1))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_explicit(runtime_bundle: Path, threads: int) -> None:
    with load(runtime_bundle, threads=threads) as segmenter:
        assert segmenter.threads == threads


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((32, 63, 3), np.uint8),
        np.zeros((32, 64, 3), np.float32),
        np.zeros((1, 32, 64, 3), np.uint8),
        np.zeros((32, 64), np.uint8),
    ],
)
def test_frames_of_another_kind_never_reach_native_code(runtime_bundle: Path, bad: np.ndarray) -> None:
    with load(runtime_bundle) as segmenter, pytest.raises(InferenceError, match=r"uint8 \[32, 64, 3\]"):
        segmenter.predict(bad)


def test_a_closed_model_says_so(runtime_bundle: Path, image: np.ndarray) -> None:
    segmenter = load(runtime_bundle)
    segmenter.close()
    segmenter.close()
    with pytest.raises(InferenceError, match="closed"):
        segmenter.predict(image)


def test_a_file_that_is_no_model(make_bundle: Any) -> None:
    for name, file, weights in (
        ("a", "model.onnx", None),
        ("b", "model.tflite", None),
        ("c", "model.xml", b""),
    ):
        with pytest.raises(BundleError, match=file):
            load(make_bundle(name, model=b"\x08\x01 this is no model" * 4, file=file, weights=weights))


def test_what_was_checked_is_what_runs(runtime_bundle: Path, image: np.ndarray) -> None:
    """Nothing is read from the disk after the hashes: the folder may be gone, or be another one."""
    opened = Bundle.open(runtime_bundle)
    shutil.rmtree(runtime_bundle)
    with load(opened) as segmenter:
        np.testing.assert_array_equal(segmenter.predict(image), image.argmax(-1))


def test_logits_become_classes(make_bundle: Any, image: np.ndarray) -> None:
    with load(make_bundle(output="logits")) as segmenter:
        np.testing.assert_array_equal(segmenter.predict(image), image.argmax(-1))


def test_confidence_is_told_from_the_mask_by_its_name(make_bundle: Any, image: np.ndarray) -> None:
    with load(make_bundle(output="mask+confidence")) as segmenter:
        segmentation = segmenter(image)
    np.testing.assert_array_equal(segmentation.model_mask, image.argmax(-1))
    exact = np.exp(image - image.max(-1, keepdims=True).astype(float))
    expected = 255 / exact.sum(-1)
    assert segmentation.confidence is not None
    np.testing.assert_allclose(segmentation.confidence, expected, atol=1)


def test_a_graph_of_another_shape_than_the_manifest_says(make_bundle: Any, make_onnx: Any) -> None:
    for name, model in (("a", make_onnx(32, 128)), ("b", make_onnx(32, 64, "logits"))):
        with pytest.raises(BundleError, match=r"model\.onnx.*expected one input uint8 \[1, 32, 64, 3\]"):
            load(make_bundle(name, model=model))


def _outside(tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def _tensor() -> TensorProto:
    return _outside(helper.make_tensor("evil", TensorProto.UINT8, [1], b"x", raw=True))


def _in_initializer(model: onnx.ModelProto) -> None:
    _outside(model.graph.initializer[0])


def _in_sparse_initializer(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add().values.CopyFrom(_tensor())


def _in_attribute(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["evil"], value=_tensor()))


def _in_subgraph(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "inner", [], [], initializer=[_tensor()])
    outer = helper.make_graph([helper.make_node("If", ["c"], ["d"], then_branch=inner)], "outer", [], [])
    model.graph.node.append(helper.make_node("If", ["a"], ["b"], then_branch=outer))


def _in_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["evil"], value=_tensor())
    model.functions.append(helper.make_function("own", "f", [], ["evil"], [node], []))


def _by_location_alone(model: onnx.ModelProto) -> None:
    _outside(model.graph.initializer[0]).ClearField("external_data")


def _by_data_alone(model: onnx.ModelProto) -> None:
    _outside(model.graph.initializer[0]).ClearField("data_location")


@pytest.mark.parametrize(
    "change",
    [
        _in_initializer,
        _in_sparse_initializer,
        _in_attribute,
        _in_subgraph,
        _in_function,
        _by_location_alone,
        _by_data_alone,
    ],
)
def test_onnx_with_data_in_another_file_is_refused(
    make_bundle: Any, make_onnx: Any, change: Callable[[onnx.ModelProto], None]
) -> None:
    model = onnx.load_from_string(make_onnx(32, 64))
    change(model)
    with pytest.raises(UnsafeModelError, match="another file"):
        load(make_bundle(model=model.SerializeToString()))


def test_lengths_written_in_more_bytes_than_needed_hide_nothing(make_bundle: Any, make_onnx: Any) -> None:
    """Protobuf reads ``88 00`` as 8, so that no pattern of bytes finds the key "location"."""
    whole = onnx.load_from_string(make_onnx(32, 64))
    entry = b"\x0a\x88\x00location" + b"\x12\x0b/etc/passwd"
    graph = b"\x2a" + _sized(b"\x6a" + _sized(entry))
    data = whole.SerializeToString() + b"\x3a" + _sized(graph)
    assert onnx.load_from_string(data).graph.initializer[-1].external_data[0].key == "location"
    with pytest.raises(UnsafeModelError, match="another file"):
        load(make_bundle(model=data))


def _sized(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def test_the_word_location_elsewhere_is_no_data(make_bundle: Any, make_onnx: Any) -> None:
    model = onnx.load_from_string(make_onnx(32, 64))
    model.metadata_props.add(key="location", value="somewhere")
    load(make_bundle(model=model.SerializeToString())).close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x3a\x7f",  # longer than the file
        b"\x3a\x03\x0a\x05x",  # longer than the message around it
        b"\x08\x80",  # a number without its end
        b"\x08" + b"\xff" * 10 + b"\x01",  # a number without end
        b"\x00\x00",  # field number 0
        b"\x0b",  # a group
        b"\xba\x80\x80\x80\x70\x00",  # a tag of more than 32 bits
    ],
)
def test_bytes_that_are_no_protobuf(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"number|reaches past|wire type"):
        has_external_data(data)


def test_onnx_with_custom_operations_is_refused(make_bundle: Any, make_onnx: Any) -> None:
    with pytest.raises(UnsafeModelError, match=r"evil"):
        load(make_bundle(model=make_onnx(32, 64, domain="evil")))


def test_litert_with_custom_operations_is_refused(make_bundle: Any, make_tflite: Any) -> None:
    model = make_tflite(32, 64, custom="FlexEvil")
    with pytest.raises(UnsafeModelError, match="FlexEvil"):
        load(make_bundle(model=model, file="model.tflite"))


def test_a_failure_of_the_runtime_is_an_inference_error(make_bundle: Any, image: np.ndarray) -> None:
    segmenter = load(make_bundle(model=_failing_model()), self_test=False)
    with pytest.raises(InferenceError, match=r"model\.onnx") as caught:
        segmenter.predict(image)
    assert caught.value.exit_code == 9


def _failing_model() -> bytes:
    """A reshape to a size that only the run can find wrong."""
    nodes = [
        helper.make_node("Shape", ["frame"], ["shape"]),
        helper.make_node("Cast", ["frame"], ["pixels"], to=TensorProto.INT64),
        helper.make_node("ReduceMax", ["pixels"], ["one"], keepdims=0),
        helper.make_node("Mul", ["shape", "one"], ["wrong"]),
        helper.make_node("Reshape", ["frame", "wrong"], ["reshaped"]),
        helper.make_node("ArgMax", ["reshaped"], ["index"], axis=3, keepdims=0),
        helper.make_node("Cast", ["index"], ["mask"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "failing",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 32, 64, 3])],
        [helper.make_tensor_value_info("mask", TensorProto.UINT8, [1, 32, 64])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


# Which runtime, with which file.


def _models(*precisions: str, bundle: Path) -> list[dict[str, Any]]:
    model = Bundle.open(bundle).manifest.models[0].model_dump()
    return [{**model, "precision": precision} for precision in precisions]


def test_the_first_runtime_that_is_known_and_installed_runs(make_bundle: Any) -> None:
    names = {"names": ("tensorrt", "onnx"), "verified_with": {}}
    bundle = Bundle.open(make_bundle(runtime=names))
    factory, model = choose_model(bundle)
    assert (factory.name, model.file) == ("onnx", "model.onnx")


def test_the_precision_asked_for_is_the_one_that_runs(make_bundle: Any) -> None:
    models = _models("int8", "fp16", bundle=make_bundle("plain"))
    bundle = Bundle.open(make_bundle(models=models))
    assert choose_model(bundle)[1].precision == "int8"
    assert choose_model(bundle, precision="fp16")[1].precision == "fp16"
    with pytest.raises(UsageError, match="fp32"):
        choose_model(bundle, precision="fp32")


def test_unknown_and_unfit_runtimes(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    with pytest.raises(UnknownNameError, match="litert, onnx, openvino, tensorrt"):
        choose_model(opened, runtime="coreml")
    with pytest.raises(UsageError, match="litert"):
        choose_model(opened, runtime="litert")


def test_a_bundle_that_nothing_here_can_run(make_bundle: Any) -> None:
    bundle = Bundle.open(make_bundle(runtime={"names": ("openvino",), "verified_with": {}}))
    with pytest.raises(RuntimeUnavailableError, match="openvino") as caught:
        choose_model(bundle)
    assert caught.value.exit_code == 8


def test_runtimes_that_are_not_installed(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(RUNTIMES["onnx"]), "version", lambda self: None)
    with pytest.raises(RuntimeUnavailableError, match=r"pip install 'edgeseg\[onnx\]'"):
        load(bundle)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeseg\[onnx\]'") as caught:
        load(bundle, runtime="onnx")
    assert caught.value.exit_code == 2


def test_a_runtime_that_is_there_but_does_not_import(
    runtime_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def blocked(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".")[0] in {"onnxruntime", "ai_edge_litert", "openvino"}:
            raise ImportError(f"{name}: broken")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(MissingExtraError, match="pip install"):
        load(runtime_bundle)


def test_default_threads_stay_within_the_machine() -> None:
    assert 1 <= choose_threads() <= MAX_DEFAULT_THREADS
    assert choose_threads(7) == 7
    with pytest.raises(UsageError, match="threads"):
        choose_threads(0)


def test_the_dict_and_the_objects_agree() -> None:
    for name, factory in RUNTIMES.items():
        assert factory.name == name
        assert factory.remedy
    assert RUNTIMES["litert"].version()
    assert RUNTIMES["onnx"].version()
