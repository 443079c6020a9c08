"""JSON, Markdown and plots of a result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from edgeseg.benchmarks.markdown import to_markdown
from edgeseg.benchmarks.output import ACCURACY_PLOT, STAGES_PLOT, write_numbers, write_pictures
from edgeseg.benchmarks.plots import plot_accuracy_latency


def test_json_holds_the_machine_the_command_and_every_stage(make_result, tmp_path: Path) -> None:
    write_numbers(make_result(), tmp_path)
    values = json.loads((tmp_path / "benchmark.json").read_text())
    assert values["command"] == "edgeseg benchmark A B"
    assert values["host"]["cpu"] == "A CPU"
    first = values["models"][0]
    assert list(first["stages_ms"]) == ["decode", "resize", "infer", "post", "total"]
    assert first["memory_mib"] == {"loaded_mib": 101.5, "peak_mib": 120.2}
    assert first["accuracy"]["label_resolution"]["per_class"]["road"]["iou"] == pytest.approx(0.71, abs=0.01)
    assert first["recorded_at_export"]["drop_points"] == 0.5


def test_what_was_not_measured_says_so_and_is_never_zero(make_result, tmp_path: Path) -> None:
    write_numbers(make_result(accuracy=False), tmp_path)
    first = json.loads((tmp_path / "benchmark.json").read_text())["models"][0]
    for key in ("sensors", "accelerators", "camera", "accuracy"):
        assert first[key] == "not measured"
    text = (tmp_path / "benchmark.md").read_text()
    assert "## Not measured" in text
    assert "- accelerators: inference ran on the CPU" in text
    assert "| not measured |" in text


def test_markdown_tables_are_whole(make_result) -> None:
    text = to_markdown(make_result())
    for block in text.split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1
    assert "| street-litert-int8 | litert int8 |" in text
    assert "IoU per class" in text
    assert "mIoU in points, label resolution, 2 images of street val." in text
    assert "label resolution" not in to_markdown(make_result(accuracy=False))
    assert "p99.9 is the maximum" not in text
    assert "p99.9 is the maximum" in to_markdown(make_result(frames=100))


def test_pictures_are_drawn(make_result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    write_pictures(make_result(), tmp_path)
    for name in (ACCURACY_PLOT, STAGES_PLOT):
        picture = cv2.imread(str(tmp_path / name))
        assert picture.shape[1] >= 1000
        assert picture.std() > 10
    assert "edgeseg benchmark" in (tmp_path / "report.html").read_text()


def test_the_plot_without_accuracy_shows_what_was_recorded_at_export(make_result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot_accuracy_latency(make_result(accuracy=False), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_a_bundle_of_which_no_accuracy_is_known_has_no_marker(make_result, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    known, wrapped = make_result(accuracy=False).models
    result = replace(make_result(), models=(known, replace(wrapped, exported=None)))
    assert result.to_dict()["models"][1]["recorded_at_export"] == "not measured"
    for bundles in (result.models, result.models[1:]):
        plot_accuracy_latency(replace(result, models=bundles), tmp_path / "plot.png")
        assert (tmp_path / "plot.png").stat().st_size > 10_000
