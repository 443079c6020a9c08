from __future__ import annotations

import dataclasses
import errno
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import edgeseg
from edgeseg.bundle import Bundle
from edgeseg.errors import AccuracyGateError, ConversionError, DataError, MissingExtraError, UsageError
from edgeseg.export import pipeline, source
from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.targets import TARGETS
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.training.data import open_dataset

BUNDLES = [
    pytest.param(target.name, precision, kind.name, id=f"{target.name}-{kind.name}-{precision}")
    for target in TARGETS.values()
    for kind in target.formats
    for precision in target.precisions
    if precision in kind.precisions and (target.name, kind.name) != ("x86", "litert")
]
"""What acceptance asks for: every precision of every format (LiteRT's are arm's), and the Jetson bundles."""


@pytest.mark.parametrize(("target", "precision", "kind"), BUNDLES)
class TestEveryBundle:
    def test_it_opens_runs_and_gives_its_golden_masks(self, exported, target, precision, kind) -> None:
        with edgeseg.load(exported(target, precision, kind).path) as segmenter:
            assert segmenter.self_test() == 1

    def test_its_manifest_tells_parity_as_measured(self, exported, target, precision, kind) -> None:
        manifest = exported(target, precision, kind).manifest
        assert (manifest.target, manifest.precision) == (target, precision)
        needed = {"fp32": 0.999, "fp16": 0.99, "bf16": 0.97, "int8": 0.95}
        for model in manifest.models:
            assert model.parity.samples == 6
            assert model.parity.agreement >= needed[model.precision]
            points = 100 * (model.parity.keras_miou - model.parity.miou)
            assert model.parity.drop_points == pytest.approx(points)
            assert set(model.parity.class_drop_points) == set(manifest.label_set().names)

    def test_int8_alone_names_what_it_was_calibrated_on(self, exported, target, precision, kind) -> None:
        calibration = exported(target, precision, kind).manifest.calibration
        assert (calibration is not None) == (precision == "int8")
        if calibration:
            assert (calibration.split, calibration.samples) == ("train", 24)

    def test_its_report_holds_both_sides_of_every_model(self, exported, target, precision, kind) -> None:
        result = exported(target, precision, kind)
        report = json.loads((result.path / "report.json").read_text())
        assert report["gate"]["passed"]
        for model in result.manifest.models:
            told = report["models"][model.file]
            assert told["keras"]["label_resolution"]["miou"] == pytest.approx(model.parity.keras_miou)
            assert told["artifact"]["label_resolution"]["miou"] == pytest.approx(model.parity.miou)
            assert set(told["artifact"]["label_resolution"]["per_class"]) == set(
                result.manifest.label_set().names
            )


def test_a_jetson_bundle_prefers_int8_keeps_fp16_and_says_that_no_engine_is_built(exported) -> None:
    manifest = exported("jetson", "int8").manifest
    assert [m.file for m in manifest.models] == ["model.int8.onnx", "model.fp16.onnx"]
    assert manifest.runtime.names == ("tensorrt", "onnx")
    assert manifest.build.state == "engine-not-built"
    assert "'edgeseg build small-jetson-int8.edgeseg' builds it on the device" in manifest.build.note
    assert exported("x86", "fp32").manifest.build.state == "complete"


def test_lineage_names_the_keras_file_and_the_tools(exported, checkpoint) -> None:
    from hashlib import sha256

    lineage = exported("x86", "fp32").manifest.lineage
    assert lineage.keras_file_sha256 == sha256(checkpoint.read_bytes()).hexdigest()
    assert (lineage.model, lineage.recipe_hash) == ("small", "ab" * 32)
    assert {"edgeseg", "keras", "onnx", "onnxruntime", "tf2onnx", "ai-edge-litert"} <= set(lineage.tools)


def test_lineage_names_the_training_data_and_parity_what_was_measured(
    checkpoint, dataset, data_spec, tmp_path
) -> None:
    other = data_spec.replace("seed=7", "seed=8")
    manifest = export_model(checkpoint, other, ExportOptions(format="onnx", samples=3, out=tmp_path)).manifest
    assert (manifest.lineage.dataset, manifest.lineage.dataset_fingerprint) == (data_spec, "cd" * 32)
    measured = manifest.models[0].parity
    assert (measured.dataset, measured.split, measured.samples) == (open_dataset(other).spec, "val", 3)
    assert measured.fingerprint == open_dataset(other).fingerprint("val") != dataset.fingerprint("val")
    report = json.loads((tmp_path / "small-x86-fp32.edgeseg" / "report.json").read_text())
    assert report["measured_on"] == {
        "dataset": measured.dataset, "split": "val", "samples": 3, "fingerprint": measured.fingerprint,
    }  # fmt: skip


@pytest.fixture
def open_with_splits(monkeypatch, dataset):
    """The dataset gains the splits ``fit`` and ``dev``, both cut out of ``train``."""
    train = dataset.splits["train"]
    splits = {**dataset.splits, "fit": train[:16], "dev": train[16:]}
    monkeypatch.setattr(source, "open_dataset", lambda spec: dataclasses.replace(dataset, splits=splits))


@pytest.mark.usefixtures("open_with_splits")
class TestTheRunsOwnSplits:
    @pytest.fixture
    def recipe_checkpoint(self, model, dataset, save, tmp_path):
        recipe = {"train_split": "fit", "val_split": "dev"}
        return save(model, tmp_path / "best.keras", dataset.labels, recipe)

    def test_it_calibrates_and_measures_on_them(self, recipe_checkpoint, tmp_path) -> None:
        options = ExportOptions(
            format="onnx", precision="int8", max_drop_points=10, max_class_drop_points=100, out=tmp_path
        )
        manifest = export_model(recipe_checkpoint, None, options).manifest
        assert (manifest.calibration.split, manifest.calibration.samples) == ("fit", 16)
        assert (manifest.models[0].parity.split, manifest.models[0].parity.samples) == ("dev", 8)

    def test_a_split_that_is_asked_for_wins(self, recipe_checkpoint, tmp_path) -> None:
        manifest = export_model(
            recipe_checkpoint, None, ExportOptions(format="onnx", split="val", out=tmp_path)
        ).manifest
        assert manifest.models[0].parity.split == "val"

    def test_int8_is_not_measured_on_what_it_was_calibrated_on(self, recipe_checkpoint, tmp_path) -> None:
        options = ExportOptions(format="onnx", precision="int8", split="train", out=tmp_path)
        with pytest.raises(UsageError, match="16 that are in both"):
            export_model(recipe_checkpoint, None, options)
        assert not list(tmp_path.glob("*.edgeseg"))


@pytest.mark.parametrize("package", ["tf2onnx", "onnxslim", "onnxruntime"])
def test_a_missing_package_stops_before_the_model_is_loaded(tmp_path, monkeypatch, package) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*edgeseg\[export\]") as caught:
        export_model(tmp_path / "absent.keras", None, ExportOptions(format="onnx"))
    assert caught.value.exit_code == 2


def test_an_older_bundle_is_replaced_and_that_is_said(checkpoint, tmp_path) -> None:
    options = ExportOptions(format="onnx", out=tmp_path, name="car.edgeseg")
    first, second = (export_model(checkpoint, None, options) for _ in range(2))
    assert [path.name for path in tmp_path.iterdir()] == ["car.edgeseg"]
    assert first.manifest.name == "car"
    assert not any("replaced" in note for note in first.notes)
    assert any("car.edgeseg was replaced" in note for note in second.notes)


def test_two_names_for_one_bundle_are_refused() -> None:
    with pytest.raises(UsageError, match="--name car"):
        export_model(
            Path("absent.keras"), None, ExportOptions(format="onnx", out=Path("bus.edgeseg"), name="car")
        )


def test_few_calibration_images_are_said(exported) -> None:
    assert any("24 images" in note for note in exported("arm", "int8").notes)
    assert not any("calibrated" in note for note in exported("arm", "fp32").notes)


def test_golden_frames_are_real_validation_frames(exported, dataset) -> None:
    golden = Bundle.open(exported("x86", "fp32").path).golden()
    real = [sample.image for sample in dataset.samples("val")]
    assert len(golden.frames) == 4
    assert all(any(np.array_equal(frame, image) for image in real) for frame in golden.frames)


@pytest.mark.parametrize("kind", ["onnx", "litert", "openvino"])
@pytest.mark.parametrize("output", ["logits", "mask+confidence"])
def test_other_outputs_run_too(checkpoint, tmp_path, kind, output) -> None:
    options = ExportOptions(format=kind, output=output, out=tmp_path)
    result = export_model(checkpoint, None, options)
    assert result.manifest.models[0].parity.agreement >= 0.999
    with edgeseg.load(result.path) as segmenter:
        segmentation = segmenter(np.zeros((90, 120, 3), np.uint8))
    assert segmentation.mask.shape == (90, 120)
    assert (segmentation.confidence is not None) == (output == "mask+confidence")


class TestTheGate:
    @pytest.fixture
    def faulty(self, monkeypatch) -> None:
        """A converter that swaps red and blue, as a wrong colour order does: only parity can find it."""
        conversion = pipeline.Conversion

        def swapped(model, *args):
            image = keras.Input(model.input_shape[1:], dtype="uint8", name="image")
            bgr = keras.layers.Concatenate()([image[..., 2:], image[..., 1:2], image[..., :1]])
            inverted = keras.layers.Lambda(lambda x: 255 - x, output_shape=model.input_shape[1:])(bgr)
            return conversion(keras.Model(image, model(inverted)), *args)

        monkeypatch.setattr(pipeline, "Conversion", swapped)

    def test_a_faulty_artifact_leaves_no_bundle_and_a_report(self, faulty, checkpoint, tmp_path) -> None:
        options = ExportOptions(format="onnx", precision="fp16", out=tmp_path)
        with pytest.raises(AccuracyGateError, match="mIoU fell by") as caught:
            export_model(checkpoint, None, options)
        assert caught.value.exit_code == 5
        assert [p.name for p in tmp_path.iterdir()] == ["small-x86-fp16.rejected.json"]
        report = json.loads((tmp_path / "small-x86-fp16.rejected.json").read_text())
        assert not report["gate"]["passed"]
        assert list(report["gate"]["faults"]) == ["model.fp16.onnx"]

    def test_an_older_bundle_survives_a_rejected_one(self, faulty, exported, checkpoint, tmp_path) -> None:
        import shutil

        bundle = tmp_path / "car.edgeseg"
        shutil.copytree(exported("x86", "fp32").path, bundle)
        before = Bundle.open(bundle).digest
        with pytest.raises(AccuracyGateError):
            export_model(checkpoint, None, ExportOptions(format="onnx", precision="fp16", out=bundle))
        assert Bundle.open(bundle).digest == before

    def test_fp32_has_no_budget_for_disagreement(self, faulty, checkpoint, tmp_path) -> None:
        with pytest.raises(AccuracyGateError, match="of pixels are as in Keras"):
            options = ExportOptions(
                format="onnx", max_drop_points=100, max_class_drop_points=100, out=tmp_path
            )
            export_model(checkpoint, None, options)

    def test_a_later_success_removes_the_old_report(self, checkpoint, tmp_path) -> None:
        rejected = tmp_path / "small-x86-fp32.rejected.json"
        rejected.write_text("{}")
        export_model(checkpoint, None, ExportOptions(format="onnx", out=tmp_path))
        assert not rejected.exists()


def test_a_full_disk_leaves_nothing(checkpoint, tmp_path, monkeypatch) -> None:
    write = Path.write_bytes

    def full(self, data):
        if self.suffix == ".onnx" and ".part" in str(self):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match="No space left"):
        export_model(checkpoint, None, ExportOptions(format="onnx", out=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_whose_golden_masks_do_not_repeat_is_not_written(checkpoint, tmp_path, monkeypatch) -> None:
    from edgeseg.errors import GoldenMismatchError

    archive = pipeline.golden_archive

    def other_masks(frames, masks):
        return archive(frames, {"fp32": 7 - masks["fp32"]})

    monkeypatch.setattr(pipeline, "golden_archive", other_masks)
    with pytest.raises(GoldenMismatchError):
        export_model(checkpoint, None, ExportOptions(format="onnx", out=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_of_other_classes_is_refused(model, save, tmp_path) -> None:
    labels = LabelSet("other", tuple(LabelClass(i, f"class{i}", (i, i, i)) for i in range(8)))
    other = save(model, tmp_path / "other.keras", labels)
    with pytest.raises(DataError, match="class7"):
        export_model(other, None, ExportOptions(format="onnx", out=tmp_path / "out"))


def test_a_model_of_another_number_of_classes_is_refused(dataset, small_model, save, tmp_path) -> None:
    few = save(small_model(3), tmp_path / "few.keras", dataset.labels)
    with pytest.raises(DataError, match="expected 3 of them"):
        export_model(few, None, ExportOptions(format="onnx", out=tmp_path / "out"))


def test_a_keras_file_of_elsewhere_needs_data_and_then_exports(model, data_spec, tmp_path) -> None:
    plain = tmp_path / "plain.keras"
    model.save(plain)
    with pytest.raises(UsageError, match="--data"):
        export_model(plain, None, ExportOptions(format="onnx", out=tmp_path / "out"))
    manifest = export_model(plain, data_spec, ExportOptions(format="onnx", out=tmp_path / "out")).manifest
    assert (manifest.lineage.model, manifest.lineage.recipe_hash) == ("plain", "unknown")


def test_a_failed_conversion_leaves_nothing(checkpoint, tmp_path, monkeypatch) -> None:
    import tf2onnx

    def broken(*args, **kwargs):
        raise ValueError("no rule for op Foo")

    monkeypatch.setattr(tf2onnx.convert, "from_function", broken)
    with pytest.raises(ConversionError, match="no rule for op Foo"):
        export_model(checkpoint, None, ExportOptions(format="onnx", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_more_samples_are_compared_than_asked_for(checkpoint, tmp_path) -> None:
    manifest = export_model(checkpoint, None, ExportOptions(format="onnx", samples=2, out=tmp_path)).manifest
    assert manifest.models[0].parity.samples == 2


def test_every_long_step_is_told(checkpoint, tmp_path) -> None:
    from contextlib import contextmanager

    told = {}

    @contextmanager
    def stage(description):
        yield lambda finished, total: told.__setitem__(description, (finished, total))

    export_model(checkpoint, None, ExportOptions(target="jetson", precision="int8", out=tmp_path), stage)
    assert all(finished == total for finished, total in told.values())
    assert told["Calibrating ONNX int8"] == (24, 24)
    assert told["Running Keras on val"] == (6, 6)
    assert told["Comparing model.int8.onnx with Keras"] == (6, 6)
