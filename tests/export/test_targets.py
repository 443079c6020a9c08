from __future__ import annotations

import pytest

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.export.plan import ExportOptions, plans_of
from edgeseg.export.quantise import RECIPES
from edgeseg.export.targets import TARGETS, target_named


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
class TestEveryTarget:
    def test_its_default_precision_is_one_of_its_precisions(self, target) -> None:
        assert target.bundle_precisions(None)[0] == target.default_precision

    def test_its_usual_format_is_the_first(self, target) -> None:
        assert target.candidates(None, target.default_precision)[0] is target.formats[0]

    def test_each_of_its_precisions_has_a_format(self, target) -> None:
        assert all(target.candidates(None, precision) for precision in target.precisions)

    def test_its_onnx_int8_has_a_recipe(self, target) -> None:
        assert all(f.qdq in RECIPES for f in target.formats if f.name == "onnx")


def test_an_int8_jetson_bundle_also_holds_fp16_and_prefers_int8() -> None:
    assert TARGETS["jetson"].bundle_precisions("int8") == ("int8", "fp16")
    assert TARGETS["jetson"].formats[0].runtimes == ("tensorrt", "onnx")


def test_x86_tries_what_has_files_of_the_precision() -> None:
    def names(**changes) -> list[str]:
        return [kind.name for kind in plans_of(ExportOptions(**changes))[0].candidates]

    assert names() == names(precision="int8") == ["onnx", "litert", "openvino"]
    assert names(precision="bf16") == ["openvino"]
    assert names(format="litert") == ["litert"]
    assert names(target="arm") == ["litert"]


def test_int8_needs_its_quantiser() -> None:
    (openvino,) = TARGETS["x86"].candidates("openvino", "int8")
    assert "nncf" in openvino.needs(["int8"])
    assert "nncf" not in openvino.needs(["fp32"])


def test_an_unknown_target_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="arm, jetson, x86"):
        target_named("tpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": "jetson", "precision": "fp32"}, "fp16 or int8"),
        ({"target": "arm", "format": "onnx"}, "litert"),
        ({"target": "arm", "precision": "bf16"}, "fp32 or fp16 or int8"),
        ({"format": "onnx", "precision": "bf16"}, "fp32 or fp16 or int8 for --format onnx"),
        ({"output": "boxes"}, "logits"),
        ({"samples": 0}, "--samples"),
        ({"calibration_samples": 0}, "--calibration-samples"),
        ({"max_drop_points": -0.1}, "--max-drop"),
        ({"max_drop_points": float("nan")}, "--max-drop"),
        ({"max_class_drop_points": -1}, "--max-class-drop"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_begins(changes, message) -> None:
    with pytest.raises(UsageError, match=message):
        plans_of(ExportOptions(**changes))


def test_a_bundle_is_named_by_model_target_and_precision(tmp_path) -> None:
    def name(**changes) -> str:
        return plans_of(ExportOptions(out=tmp_path, **changes))[0].destination("net").name

    assert name() == "net-x86-fp32.edgeseg"
    assert name(format="litert", precision="int8") == "net-x86-litert-int8.edgeseg"
    assert name(name="car") == "car.edgeseg"


def test_out_may_name_the_bundle_itself(tmp_path) -> None:
    bundle = tmp_path / "car.edgeseg"
    assert plans_of(ExportOptions(out=bundle))[0].destination("net") == bundle


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path) -> None:
    precious = tmp_path / "car.edgeseg"
    precious.mkdir()
    (precious / "thesis.txt").write_text("three years of work")
    with pytest.raises(UsageError, match="no bundle"):
        plans_of(ExportOptions(out=precious))[0].destination("net")
