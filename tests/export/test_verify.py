from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import toys
from edgeseg.bundle.keys import write_key_pair
from edgeseg.bundle.manifest import GOLDEN_NAME, MANIFEST_NAME, REPORT_NAME
from edgeseg.bundle.signing import sign_bundle
from edgeseg.errors import AccuracyGateError, BundleError, DataError, SignatureMissingError
from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.targets import TARGETS
from edgeseg.export.verify import Check, VerifyOptions, verify_bundle

BUNDLES = [
    pytest.param(target.name, precision, kind.name, id=f"{target.name}-{kind.name}-{precision}")
    for target in TARGETS.values()
    for kind in target.formats
    for precision in target.precisions
    if precision in kind.precisions and (target.name, kind.name) != ("x86", "litert")
]


def verify(path: Path, **options) -> list[Check]:
    checks: list[Check] = []
    verify_bundle(path, VerifyOptions(**options), checks.append)
    return checks


@pytest.fixture
def copy(exported, tmp_path) -> Path:
    """A Jetson bundle that may be damaged."""
    path = tmp_path / "copy.edgeseg"
    shutil.copytree(exported("jetson", "int8").path, path)
    return path


@pytest.mark.parametrize(("target", "precision", "kind"), BUNDLES)
def test_every_export_verifies_against_its_keras_file(exported, checkpoint, target, precision, kind) -> None:
    result = exported(target, precision, kind)
    checks = verify(result.path, against=checkpoint)
    assert {check.state for check in checks} <= {"passed", "skipped"}
    names = [check.name for check in checks if check.state == "passed"]
    models = len(result.manifest.models)
    assert names.count("golden self-test") == names.count("graph contract") == models
    assert names.count("parity with Keras") == models
    assert names.count("lineage") == 1
    contracts = [check.seen for check in checks if check.name == "graph contract"]
    assert all(("floats in" in seen) == (kind == "openvino") for seen in contracts)


@pytest.mark.parametrize(
    "member", [MANIFEST_NAME, GOLDEN_NAME, REPORT_NAME, "model.int8.onnx", "model.fp16.onnx"]
)
@pytest.mark.parametrize("where", [0.0, 0.5, 1.0], ids=["first byte", "middle byte", "last byte"])
def test_a_flipped_byte_is_found_and_its_member_named(copy, member, where) -> None:
    data = bytearray((copy / member).read_bytes())
    data[int(where * (len(data) - 1))] ^= 0x01
    (copy / member).write_bytes(data)
    checks: list[Check] = []
    with pytest.raises(BundleError, match=member) as caught:
        verify_bundle(copy, VerifyOptions(), checks.append)
    assert caught.value.exit_code == 8
    assert [check.state for check in checks] == ["failed"]


def test_without_data_it_says_what_it_did_not_measure(exported) -> None:
    last = verify(exported("x86", "fp32").path)[-1]
    assert (last.name, last.state) == ("parity and accuracy", "skipped")
    assert "--against" in last.seen


def test_a_runtime_that_is_not_here_is_skipped_and_said(exported) -> None:
    skipped = [c for c in verify(exported("jetson", "fp16").path) if c.subject == "tensorrt"]
    assert [c.state for c in skipped] == ["skipped"]


def test_with_data_alone_accuracy_is_measured_against_the_exports(exported, data_spec) -> None:
    (accuracy,) = [c for c in verify(exported("x86", "int8").path, data=data_spec) if c.name == "accuracy"]
    assert accuracy.state == "passed"
    recorded = exported("x86", "int8").manifest.models[0].parity
    assert f"mIoU {100 * recorded.miou:.2f}" in accuracy.seen


def test_other_data_of_the_same_classes_is_measured_but_not_judged(exported, data_spec) -> None:
    other = data_spec.replace("seed=7", "seed=8")
    (accuracy,) = [c for c in verify(exported("x86", "int8").path, data=other) if c.name == "accuracy"]
    assert accuracy.state == "note"
    assert "other samples" in accuracy.seen


def test_fewer_samples_than_the_exports_are_measured_but_not_judged(exported, data_spec) -> None:
    bundle = exported("x86", "int8").path
    (fewer,) = [c for c in verify(bundle, data=data_spec, samples=3) if c.name == "accuracy"]
    assert (fewer.state, "3 samples" in fewer.seen) == ("note", True)


def test_by_default_the_samples_of_the_export_are_measured(checkpoint, data_spec, tmp_path) -> None:
    options = ExportOptions(
        format="onnx",
        split="train",
        samples=5,
        max_drop_points=10,
        max_class_drop_points=100,
        out=tmp_path,
    )
    bundle = export_model(checkpoint, None, options).path
    (same,) = [c for c in verify(bundle, data=data_spec) if c.name == "accuracy"]
    assert (same.state, "5 samples" in same.seen) == ("passed", True)
    (other,) = [c for c in verify(bundle, data=data_spec, split="val") if c.name == "accuracy"]
    assert other.state == "note"


def test_another_keras_model_fails_parity_with_exit_code_5(
    exported, dataset, small_model, save, tmp_path
) -> None:
    stranger = save(small_model(len(dataset.labels)), tmp_path / "stranger.keras", dataset.labels)
    checks: list[Check] = []
    with pytest.raises(AccuracyGateError, match=r"model\.fp32\.onnx") as caught:
        verify_bundle(exported("x86", "fp32").path, VerifyOptions(against=stranger), checks.append)
    assert caught.value.exit_code == 5
    states = {check.name: check.state for check in checks}
    assert (states["lineage"], states["parity with Keras"]) == ("note", "failed")


def test_the_budget_can_be_tightened(exported, checkpoint, monkeypatch) -> None:
    from edgeseg.export import verify as module

    monkeypatch.setattr(
        module, "faults_of", lambda comparison, precision, budget: [f"{budget}"] if budget.drop < 1 else []
    )
    bundle = exported("x86", "fp16").path
    verify(bundle, against=checkpoint)
    with pytest.raises(AccuracyGateError, match=r"Budget\(drop=0\.25, class_drop=None\)"):
        verify(bundle, against=checkpoint, max_drop_points=0.25)


def test_data_of_other_classes_is_refused(exported, tmp_path) -> None:
    folder = tmp_path / "data"
    (folder / "val" / "images").mkdir(parents=True)
    (folder / "val" / "masks").mkdir()
    import cv2

    cv2.imwrite(str(folder / "val/images/a.png"), np.zeros((64, 96, 3), np.uint8))
    cv2.imwrite(str(folder / "val/masks/a.png"), np.zeros((64, 96), np.uint8))
    (folder / "labels.yaml").write_text("classes:\n  - {name: lane, color: [9, 9, 9]}\n")
    with pytest.raises(DataError, match="lane"):
        verify(exported("x86", "fp32").path, data=f"folder:{folder}")


def test_it_verifies_in_a_vehicle_without_keras(exported, data_spec) -> None:
    """Accuracy included: only --against needs Keras."""
    code = f"""
import sys
for name in ("keras", "tensorflow", "onnx", "tf2onnx", "onnxslim", "albumentations"):
    sys.modules[name] = None
from pathlib import Path
from edgeseg.export.verify import VerifyOptions, verify_bundle
states = []
bundle = Path({str(exported("arm", "int8").path)!r})
verify_bundle(bundle, VerifyOptions(data={data_spec!r}), lambda check: states.append(check.state))
assert states == ["passed"] * 4, states
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_signature_is_said_and_asked_for(tmp_path: Path) -> None:
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    private, public, fingerprint = write_key_pair(tmp_path / "key")
    required = VerifyOptions(trusted_keys=[public])
    seen: list[Check] = []
    with pytest.raises(SignatureMissingError):
        verify_bundle(bundle, required, seen.append)
    verify_bundle(bundle, VerifyOptions(), seen.append)
    sign_bundle(bundle, private)
    verify_bundle(bundle, required, seen.append)
    files = [check for check in seen if check.name == "files and hashes"]
    assert [check.state for check in files] == ["failed", "passed", "passed"]
    assert files[1].seen.endswith("unsigned")
    assert files[2].seen.endswith(f"signed by {fingerprint}")
