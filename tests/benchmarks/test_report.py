"""The HTML page: whole, self-contained, and nothing in it that was not given."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.benchmarks.report import (
    Headline,
    LoopFacts,
    ModelScore,
    Picture,
    Report,
    benchmark_report,
    write_report,
)
from edgeseg.benchmarks.sensors.report import SensorReport, Span
from edgeseg.benchmarks.sensors.throttling import Throttling
from edgeseg.errors import DataError

pytest.importorskip("jinja2")


@pytest.fixture
def picture(tmp_path: Path) -> Picture:
    cv2.imwrite(str(tmp_path / "curves.png"), np.full((20, 40, 3), 200, np.uint8))
    return Picture(tmp_path / "curves.png", "Loss by epoch.")


@pytest.fixture
def report(make_result, picture: Picture, tmp_path: Path) -> Report:
    pixels = Picture(np.zeros((16, 32, 3), np.uint8), "Frame 20.")
    return Report(
        title="edgeseg demo",
        lead="Drawn streets & real numbers.",
        created="2026-01-01",
        headlines=(Headline("Accuracy", "73.4", "mIoU"),),
        training=(picture,),
        predictions=(pixels,),
        confusion=picture,
        scores=(
            ModelScore("Keras", "keras 3.15", 0.734, {"road": 0.95, "sky": None}),
            ModelScore("LiteRT int8", "litert 2.3", 0.729, {"road": 0.94, "sky": None}, 0.5, 0.9917, 0.51),
        ),
        benchmark=make_result(),
        plots=(picture,),
        loops=(
            LoopFacts("real time", 9.1, 221, 219, 2, 24.1, 31.2, 40.7, 44.9, -3.0),
            LoopFacts("every frame", 5.2, 221, 221, 0, 42.5, 20.0, 30.0, 31.0, None),
        ),
        overlays=(pixels,),
        video=tmp_path / "overlay.mp4",
        environment={"Training": "Keras 3.15.1"},
        not_measured={"TensorRT": "no engine was built"},
        commands=("edgeseg demo",),
    )


def test_every_part_is_on_the_page(report: Report, tmp_path: Path) -> None:
    page = _written(report, tmp_path)
    for heading in (
        "Camera loop",
        "Accuracy",
        "Latency",
        "Accuracy against latency",
        "Training",
        "Conditions",
    ):
        assert f"<h2>{heading}</h2>" in page
    for text in (
        "73.4",
        "99.17 %",
        "+0.50",
        "no engine was built",
        "inference ran on the CPU",
        "A CPU, 2 cores",
    ):
        assert text in page
    assert "Drawn streets &amp; real numbers." in page
    assert 'href="overlay.mp4"' in page
    assert page.count("data:image/png;base64,") == 3
    assert page.count("data:image/jpeg;base64,") == 2


def test_the_page_needs_nothing_from_outside(report: Report, tmp_path: Path) -> None:
    page = _written(report, tmp_path)
    assert not re.search(r"https?://", page)
    assert "<script" not in page
    for source in re.findall(r'src="([^"]*)"', page):
        assert source.startswith("data:image/")


def test_tags_are_closed_and_links_lead_somewhere(report: Report, tmp_path: Path) -> None:
    page = _written(report, tmp_path)
    checker = _Balance()
    checker.feed(page)
    assert checker.open == []
    for anchor in re.findall(r'href="#([^"]*)"', page):
        assert f'id="{anchor}"' in page


def test_parts_that_are_empty_are_left_out(tmp_path: Path) -> None:
    page = _written(Report("Title", "Lead", "today"), tmp_path)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Conditions"]
    assert "<img" not in page


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    page = _written(Report("<b>bold</b>", "Lead", "today"), tmp_path)
    assert "<b>bold</b>" not in page
    assert "&lt;b&gt;" in page


def test_a_missing_picture_is_named_and_no_page_is_left(report: Report, tmp_path: Path) -> None:
    broken = replace(report, confusion=Picture(tmp_path / "missing.png", "x"))
    with pytest.raises(DataError, match=r"missing\.png"):
        write_report(tmp_path / "page" / "report.html", broken)
    assert not list((tmp_path / "page").glob("*")) if (tmp_path / "page").exists() else True
    with pytest.raises(DataError, match="a picture"):
        write_report(tmp_path / "r.html", replace(report, confusion=Picture(tmp_path / "x.mp4", "x")))


def test_a_benchmark_alone_makes_a_page(make_result, picture: Picture, tmp_path: Path) -> None:
    page = _written(benchmark_report(make_result(), (picture,)), tmp_path)
    assert "street-litert-int8" in page
    assert "Best mIoU" in page
    page = _written(benchmark_report(make_result(accuracy=False), ()), tmp_path)
    assert "Best mIoU" not in page
    assert "<h2>Accuracy</h2>" not in page


def test_what_is_bold_in_markdown_is_bold_on_the_page(make_result, tmp_path: Path) -> None:
    result = make_result()
    span = Span(50.0, 91.0, 50.0, 91.0, 80.0)
    throttled = Throttling(("states of cooling device",), ("slowed down to cool",))
    sensors = SensorReport(None, None, {}, {"thermal zone: cpu": span}, throttled, (), {})
    models = tuple(replace(model, sensors=sensors) for model in result.models)
    page = _written(benchmark_report(replace(result, models=models), ()), tmp_path)
    assert "Power, clock and temperature" in page
    assert page.count("<td><b>yes</b></td>") == 2
    assert "**" not in page


def _written(report: Report, folder: Path) -> str:
    write_report(folder / "report.html", report)
    return (folder / "report.html").read_text(encoding="utf-8")


class _Balance(HTMLParser):
    """Tags that were opened and not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag
