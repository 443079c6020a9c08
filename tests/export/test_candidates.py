from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import edgeseg
from edgeseg.cli.export import export as export_verb
from edgeseg.errors import AccuracyGateError, ConversionError, MissingExtraError
from edgeseg.export import artifacts, pipeline
from edgeseg.export.candidates import FRAMES_PER_ROUND, ROUNDS, formats_to_try, medians_in_turns
from edgeseg.export.pipeline import ExportResult, export_model
from edgeseg.export.plan import ExportOptions, plan_of

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.fixture
def x86(monkeypatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def names(options: ExportOptions) -> tuple[list[str], str]:
    formats, notes = formats_to_try(plan_of(options))
    return [kind.name for kind in formats], " ".join(notes)


@pytest.mark.usefixtures("x86")
class TestWhatIsTried:
    def test_all_that_fits_and_is_installed(self) -> None:
        assert names(ExportOptions()) == (["onnx", "litert", "openvino"], "")

    def test_the_one_that_is_asked_for(self) -> None:
        assert names(ExportOptions(format="openvino")) == (["openvino"], "")

    def test_the_only_one_that_there_is(self) -> None:
        assert names(ExportOptions(target="arm")) == (["litert"], "")

    def test_what_is_not_installed_is_left_out_and_said(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        tried, note = names(ExportOptions())
        assert tried == ["onnx", "litert"]
        assert "openvino was not tried" in note
        assert "pip install 'edgeseg[export]'" in note

    def test_int8_is_not_tried_without_its_quantiser(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "nncf", None)
        assert names(ExportOptions(precision="int8"))[0] == ["onnx", "litert"]
        assert names(ExportOptions())[0] == ["onnx", "litert", "openvino"]

    def test_nothing_installed_is_an_error(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(MissingExtraError, match="tensorflow"):
            formats_to_try(plan_of(ExportOptions()))

    def test_without_measuring_the_usual_one_and_a_note(self) -> None:
        tried, note = names(ExportOptions(measure=False))
        assert tried == ["onnx"]
        assert "--no-measure" in note


def test_another_kind_of_machine_says_nothing_of_an_x86_pc(monkeypatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    tried, note = names(ExportOptions())
    assert tried == ["onnx"]
    assert "aarch64" in note


def test_medians_tell_the_slow_from_the_fast_and_turns_go_to_and_fro() -> None:
    order = []

    def sleeping(name: str, seconds: float):
        def predict(_frame):
            order.append(name)
            time.sleep(seconds)

        return predict

    told = []
    medians = medians_in_turns(
        {"slow": sleeping("slow", 0.02), "fast": sleeping("fast", 0.001)},
        FRAMES,
        lambda finished, total: told.append((finished, total)),
    )
    assert medians["slow"] >= 20 > medians["fast"] >= 1
    assert told[-1] == (ROUNDS, ROUNDS)
    turns = [name for name, before in zip(order, [None, *order], strict=False) if name != before]
    # The last of one round is the first of the next, so that two turns look like one.
    assert turns == (["slow", "fast"] * ROUNDS)[: ROUNDS + 1]
    assert order.count("slow") == order.count("fast") > ROUNDS * FRAMES_PER_ROUND


@pytest.mark.heavy
@pytest.mark.usefixtures("x86")
class TestAnExportThatChooses:
    """The times are the test's own: how fast this machine is, is not for a test to say."""

    @pytest.fixture(autouse=True)
    def medians(self, monkeypatch) -> dict[str, float]:
        medians = {"onnx": 3.0, "litert": 2.0, "openvino": 4.0}
        monkeypatch.setattr(
            "edgeseg.export.candidates.medians_in_turns",
            lambda predictors, *_: {name: medians[name] for name in predictors},
        )
        return medians

    def export(self, checkpoint: Path, out: Path, **changes) -> ExportResult:
        return export_model(checkpoint, None, ExportOptions(max_drop_points=10, out=out, **changes))

    def test_it_writes_the_fastest_and_tells_all(self, checkpoint, tmp_path) -> None:
        result = self.export(checkpoint, tmp_path)
        assert result.path.name == "small-x86-fp32.edgeseg"
        assert [model.file for model in result.manifest.models] == ["model.fp32.tflite"]
        assert result.manifest.runtime.names == ("litert",)
        with edgeseg.load(result.path) as segmenter:
            assert segmenter.runtime_name == "litert"
        tried = json.loads((result.path / "report.json").read_text())["formats_tried"]
        assert {t["format"]: t["median_ms"] for t in tried} == {"onnx": 3.0, "litert": 2.0, "openvino": 4.0}
        assert [t["format"] for t in tried if t["chosen"]] == ["litert"]
        assert all(t["agreement"] >= 0.999 and not t["faults"] for t in tried)
        assert any("litert was chosen: the fastest here" in note for note in result.notes)

    def test_the_terminal_tells_what_each_measured(self, checkpoint, tmp_path, capsys) -> None:
        export_verb(checkpoint, out=tmp_path, max_drop=10)
        said = capsys.readouterr()
        lines = {line.split()[1]: line for line in said.out.splitlines() if line.startswith("│")}
        assert "2.00" in lines["litert"]
        assert "chosen" in lines["litert"]
        assert "3.00" in lines["onnx"]
        assert "chosen" not in lines["onnx"] + lines["openvino"]
        assert "litert was chosen" in said.err

    def test_the_fastest_is_not_chosen_outside_the_budget(self, checkpoint, tmp_path, monkeypatch) -> None:
        self._spoil(monkeypatch, "model.fp32.tflite")
        result = self.export(checkpoint, tmp_path)
        assert [model.format for model in result.manifest.models] == ["onnx"]
        tried = json.loads((result.path / "report.json").read_text())["formats_tried"]
        (litert,) = [t for t in tried if t["format"] == "litert"]
        assert (litert["median_ms"], litert["faults"], litert["chosen"]) == (None, ["spoilt"], False)

    def test_where_one_alone_is_within_it_nothing_is_timed(self, checkpoint, tmp_path, monkeypatch) -> None:
        self._spoil(monkeypatch, "model.fp32.tflite", "model.fp32.onnx")
        result = self.export(checkpoint, tmp_path)
        assert result.chosen.candidate.name == "openvino"
        assert any("no other one was within the accuracy budget" in note for note in result.notes)

    def test_where_none_is_within_it_all_faults_are_told(self, checkpoint, tmp_path, monkeypatch) -> None:
        files = ("model.fp32.tflite", "model.fp32.onnx", "model.fp32.xml")
        self._spoil(monkeypatch, *files)
        with pytest.raises(AccuracyGateError) as caught:
            self.export(checkpoint, tmp_path)
        assert all(f"{file}: spoilt" in str(caught.value) for file in files)
        assert [path.name for path in tmp_path.iterdir()] == ["small-x86-fp32.rejected.json"]

    def test_a_format_that_cannot_hold_the_model_is_left_out_and_said(
        self, checkpoint, tmp_path, monkeypatch
    ) -> None:
        def fails(*_args):
            raise ConversionError("it", expected="a rule", found="none", next_step="Give up.")

        monkeypatch.setattr(artifacts, "convert_litert", fails)
        result = self.export(checkpoint, tmp_path)
        assert [trial.candidate.name for trial in result.trials] == ["onnx", "openvino"]
        assert result.chosen.candidate.name == "onnx"
        assert any("litert was left out: it: expected a rule" in note for note in result.notes)
        monkeypatch.setattr(artifacts, "convert_onnx", fails)
        with pytest.raises(ConversionError, match="expected a rule"):
            self.export(checkpoint, tmp_path)

    @staticmethod
    def _spoil(monkeypatch, *files: str) -> None:
        faults_of = pipeline.faults_of
        by_format = {"onnx": "model.fp32.onnx", "litert": "model.fp32.tflite", "openvino": "model.fp32.xml"}
        order = [by_format[kind.name] for kind in plan_of(ExportOptions()).candidates]

        def spoilt(comparison, precision, budget):
            file = order.pop(0)
            return ["spoilt"] if file in files else faults_of(comparison, precision, budget)

        monkeypatch.setattr(pipeline, "faults_of", spoilt)
