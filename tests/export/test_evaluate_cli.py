"""``edgeseg evaluate`` of a bundle, in the process of the tests."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import toys
from edgeseg.cli import main
from edgeseg.tables import points
from edgeseg.training import data
from edgeseg.training.data.cityscapes import CITYSCAPES19
from edgeseg.training.data.synthetic import open_synthetic, write_cityscapes


@pytest.fixture
def evaluate(monkeypatch, tmp_path, capfd):
    """Runs the command in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeseg", "evaluate", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        told = capfd.readouterr()
        return caught.value.code or 0, told.out, told.err

    return run


def test_a_bundle_is_scored_on_what_it_was_measured_on(evaluate, exported) -> None:
    bundle = exported("x86", "fp32")
    code, out, err = evaluate(bundle.path, "--json", "--worst", 2)
    assert code == 0, err
    values, parity = json.loads(out), bundle.manifest.models[0].parity
    assert (values["dataset"], values["split"], values["samples"]) == (parity.dataset, "val", parity.samples)
    assert values["label_resolution"]["miou"] == pytest.approx(parity.miou)
    assert len(values["worst_images"]) == 2
    assert json.loads(Path("runs/evaluate/small-x86-fp32-val/summary.json").read_text("utf-8")) == values


def test_categories_are_scored_where_the_dataset_has_them(evaluate, tmp_path) -> None:
    """Also of a bundle that knows none, as those that were written before them: its classes are the same."""
    drawn, bundle = tmp_path / "drawn", _bundle_of_nineteen_classes(tmp_path / "car.edgeseg")
    write_cityscapes(open_synthetic("train=1,val=2,size=64x128"), drawn)
    code, out, err = evaluate(bundle, "--data", f"cityscapes19:{drawn}", "--split", "val", "--json")
    assert code == 0, err
    values = json.loads(out)
    matrix = np.array(values["confusion_matrix"])
    flat = [CITYSCAPES19.names.index(name) for name in ("road", "sidewalk")]
    hit = matrix[np.ix_(flat, flat)].sum()
    assert 0 < hit < matrix.sum()
    iou = hit / (matrix[flat].sum() + matrix[:, flat].sum() - hit)
    assert values["categories"]["per_class"]["flat"]["iou"] == pytest.approx(iou)
    assert len(values["categories"]["per_class"]) == 7

    code, out, err = evaluate(bundle, "--data", f"cityscapes19:{drawn}", "--split", "val")
    assert code == 0, err
    assert f"Per category, label resolution: mIoU {points(values['categories']['miou'])}" in out
    assert "construction" in out


def _bundle_of_nineteen_classes(folder: Path) -> Path:
    """The toy that names the strongest channel, as three of the nineteen."""
    model = onnx.load_from_string(toys.onnx_model(32, 64))
    weights = next(one for one in model.graph.initializer if one.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(np.eye(3, 19, dtype=np.float32), "weights"))
    labels = CITYSCAPES19.to_dict()
    return toys.write_bundle(folder, model=model.SerializeToString(), labels=labels)


def test_the_next_command_can_be_pasted(evaluate, exported, tmp_path) -> None:
    bundle = tmp_path / "my car.edgeseg"
    shutil.copytree(exported("x86", "fp32").path, bundle)
    code, _, err = evaluate(bundle, "--worst", 0)
    assert code == 0, err
    assert f"edgeseg benchmark '{bundle}' --data" in err


def test_flips_are_for_keras_files_alone(evaluate, exported) -> None:
    code, _, err = evaluate(exported("x86", "fp32").path, "--flip")
    assert (code, "--flip: expected a .keras file" in err) == (2, True)


def test_a_bundle_that_is_not_there_is_no_keras_file(evaluate) -> None:
    code, _, err = evaluate("typo.edgeseg")
    assert (code, "typo.edgeseg" in err) == (8, True)


def test_without_matplotlib_nothing_is_scored_and_nothing_written(
    evaluate, exported, monkeypatch, tmp_path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = evaluate(exported("x86", "fp32").path)
    assert code == 2
    assert "edgeseg[benchmark]" in err
    assert "Evaluating" not in err
    assert not list(tmp_path.iterdir())


def test_a_split_without_a_labelled_pixel_has_no_scores(
    evaluate, exported, dataset, monkeypatch, tmp_path
) -> None:
    class Unlabelled(type(dataset)):
        def read_mask(self, item):
            return np.full_like(super().read_mask(item), self.labels.ignore_index)

    fields = {field.name: getattr(dataset, field.name) for field in dataclasses.fields(dataset)}
    monkeypatch.setattr(data, "open_dataset", lambda spec: Unlabelled(**fields))
    code, _, err = evaluate(exported("x86", "fp32").path)
    assert (code, "labelled pixel" in err) == (3, True)
    assert not list(tmp_path.iterdir())
