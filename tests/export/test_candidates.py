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
from edgeseg.errors import AccuracyGateError, ConversionError, LatencyGateError, MissingExtraError, UsageError
from edgeseg.export import artifacts, pipeline
from edgeseg.export.alternatives import formats_to_try, plans_to_try
from edgeseg.export.candidates import FRAMES_PER_ROUND, ROUNDS, medians_in_turns
from edgeseg.export.pipeline import ExportResult, export_model
from edgeseg.export.plan import ExportOptions, plans_of
from edgeseg.runtimes import RUNTIMES

FRAMES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.fixture
def x86(monkeypatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def names(options: ExportOptions) -> tuple[list[str], str]:
    formats, notes = formats_to_try(plans_of(options)[0])
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
            formats_to_try(plans_of(ExportOptions())[0])

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
            lambda predictors, *_: {name: medians[name.split()[0]] for name in predictors},
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
        lines = {line.split()[3]: line for line in said.out.splitlines() if line.startswith("│")}
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
        assert result.chosen.candidate.format == "openvino"
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
        assert [trial.candidate.format for trial in result.trials] == ["onnx", "openvino"]
        assert result.chosen.candidate.format == "onnx"
        assert any("litert was left out: it: expected a rule" in note for note in result.notes)
        monkeypatch.setattr(artifacts, "convert_onnx", fails)
        with pytest.raises(ConversionError, match="expected a rule"):
            self.export(checkpoint, tmp_path)

    @staticmethod
    def _spoil(monkeypatch, *files: str) -> None:
        faults_of = pipeline.faults_of
        by_format = {"onnx": "model.fp32.onnx", "litert": "model.fp32.tflite", "openvino": "model.fp32.xml"}
        order = [by_format[kind.name] for kind in plans_of(ExportOptions())[0].candidates]

        def spoilt(comparison, precision, budget):
            file = order.pop(0)
            return ["spoilt"] if file in files else faults_of(comparison, precision, budget)

        monkeypatch.setattr(pipeline, "faults_of", spoilt)


class TestPlansForTimes:
    """Which precisions and formats are tried, and what is refused before anything is slow."""

    @staticmethod
    def tried(**changes) -> tuple[list[tuple[str, str]], str]:
        plans, notes = plans_to_try(plans_of(ExportOptions(precision="auto", **changes)))
        return [(plan.precisions[0], plan.format.name) for plan in plans], " ".join(notes)

    @pytest.mark.usefixtures("x86")
    def test_auto_tries_every_precision_in_every_format_that_has_it(self) -> None:
        tried, note = self.tried()
        everywhere = [(p, kind) for p in ("fp32", "fp16", "int8") for kind in ("onnx", "litert", "openvino")]
        assert sorted(tried) == sorted([*everywhere, ("bf16", "openvino")])
        assert note == ""

    def test_a_format_that_is_asked_for_is_the_only_one(self) -> None:
        tried, _ = self.tried(format="litert")
        assert tried == [("fp32", "litert"), ("fp16", "litert"), ("int8", "litert")]

    @pytest.mark.usefixtures("x86")
    def test_a_precision_whose_only_format_is_missing_is_left_out_and_said(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "openvino", None)
        tried, note = self.tried()
        assert "bf16" not in {precision for precision, _ in tried}
        assert "The precision bf16 was not tried" in note
        assert note.count("The format openvino was not tried") == 1

    def test_times_on_another_kind_of_machine_are_called_that(self, monkeypatch) -> None:
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        tried, note = self.tried(target="arm")
        assert tried == [("fp32", "litert"), ("fp16", "litert"), ("int8", "litert")]
        assert "The times are this machine's (x86_64)" in note

    @pytest.mark.parametrize("asked", [{"precision": "auto"}, {"precision": "fp16", "max_latency_ms": 9.0}])
    def test_a_target_that_cannot_run_here_is_refused(self, asked, monkeypatch) -> None:
        monkeypatch.setattr(type(RUNTIMES["tensorrt"]), "version", lambda _self: None)
        with pytest.raises(UsageError, match=r"jetson runs in tensorrt.*fp16 or int8.*--max-latency-ms"):
            plans_to_try(plans_of(ExportOptions(target="jetson", **asked)))

    def test_measuring_and_not_measuring_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"--no-measure.*--precision auto"):
            self.tried(measure=False)

    @pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
    def test_a_limit_that_is_no_time_is_refused(self, wrong) -> None:
        with pytest.raises(UsageError, match="--max-latency"):
            plans_of(ExportOptions(max_latency_ms=wrong))


@pytest.mark.heavy
@pytest.mark.usefixtures("x86")
class TestTheFastestWithinTheBudget:
    """In LiteRT, with times of the test's own."""

    @pytest.fixture(autouse=True)
    def medians(self, monkeypatch) -> dict[str, float]:
        medians = {"litert fp32": 4.0, "litert fp16": 3.0, "litert int8": 1.0}
        monkeypatch.setattr(
            "edgeseg.export.candidates.medians_in_turns",
            lambda predictors, *_: {name: medians[name] for name in predictors},
        )
        return medians

    def export(self, checkpoint: Path, out: Path, **changes) -> ExportResult:
        options = {"precision": "auto", "max_drop_points": 10, "max_class_drop_points": 100, "qat_steps": 0}
        options |= changes
        return export_model(
            checkpoint, None, ExportOptions(target="arm", format="litert", out=out, **options)
        )

    def test_the_fastest_is_written_and_all_are_told(self, checkpoint, tmp_path) -> None:
        result = self.export(checkpoint, tmp_path, max_latency_ms=2)
        assert result.path.name == "small-arm-int8.edgeseg"
        assert result.manifest.calibration is not None
        report = json.loads((result.path / "report.json").read_text())
        assert report["gate"]["max_latency_ms"] == 2
        assert {(t["precision"], t["median_ms"], t["verdict"]) for t in report["formats_tried"]} == {
            ("fp32", 4.0, "refused: takes more than 2 ms"),
            ("fp16", 3.0, "refused: takes more than 2 ms"),
            ("int8", 1.0, "chosen"),
        }
        assert any("litert int8 was chosen: the fastest here" in note for note in result.notes)

    def test_a_precision_over_the_budget_is_refused_however_fast(
        self, checkpoint, tmp_path, monkeypatch
    ) -> None:
        judge = pipeline.faults_of

        def judged(comparison, precision, budget):
            return ["spoilt"] if precision == "int8" else judge(comparison, precision, budget)

        monkeypatch.setattr(pipeline, "faults_of", judged)
        result = self.export(checkpoint, tmp_path)
        assert result.path.name == "small-arm-fp16.edgeseg"
        assert result.manifest.calibration is None
        verdicts = {t.candidate.precision: t.verdict(result.chosen) for t in result.trials}
        assert verdicts == {"fp32": "kept, but slower", "fp16": "chosen", "int8": "refused: spoilt"}

    def test_where_none_is_fast_enough_nothing_is_written_and_the_table_is_told(
        self, checkpoint, tmp_path, capsys
    ) -> None:
        with pytest.raises(
            LatencyGateError, match=r"at most 0\.5 ms.*1\.00 ms.*litert int8.*--max-latency"
        ) as e:
            export_verb(
                checkpoint, target="arm", precision="auto", max_latency=0.5, max_drop=10, max_class_drop=100,
                qat_steps=0, out=tmp_path / "out",
            )  # fmt: skip
        assert e.value.exit_code == 6
        assert not (tmp_path / "out").exists()
        said = capsys.readouterr().out
        assert all(precision in said for precision in ("fp32", "fp16", "int8"))
        assert said.count("refused") == 3

    def test_where_none_is_within_the_budget_the_accuracy_gate_stops(
        self, checkpoint, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(pipeline, "faults_of", lambda *_: ["spoilt"])
        with pytest.raises(
            AccuracyGateError, match=r"model\.fp32\.tflite: spoilt.*model\.int8\.tflite: spoilt"
        ):
            self.export(checkpoint, tmp_path, max_latency_ms=1)
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"small-arm-auto.rejected.json", "small-arm-auto.int8.html"}

    @pytest.mark.parametrize(("limit", "passes"), [(3.5, False), (4.0, True)])
    def test_a_fixed_precision_keeps_a_limit_too(self, checkpoint, tmp_path, limit, passes) -> None:
        changes = {"precision": "fp32", "max_latency_ms": limit}
        if passes:
            assert self.export(checkpoint, tmp_path, **changes).chosen.median_ms == 4.0
            return
        with pytest.raises(LatencyGateError, match="--precision auto"):
            self.export(checkpoint, tmp_path, **changes)
        assert not list(tmp_path.iterdir())


def test_medians_are_of_the_clock_that_is_given() -> None:
    now = iter(range(10_000))
    medians = medians_in_turns(
        {"one": lambda _: None, "other": lambda _: None}, FRAMES, clock=lambda: next(now)
    )
    assert medians == {"one": 1000.0, "other": 1000.0}
