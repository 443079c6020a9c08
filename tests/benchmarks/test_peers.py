"""One network in many runtimes: whose path is faster, and what the page says of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.benchmarks.output import write_pictures
from edgeseg.benchmarks.peers import HEADER, Peers, write_peers
from edgeseg.benchmarks.results import BenchmarkResult, ModelResult
from edgeseg.benchmarks.summary import summarise


@pytest.fixture
def peers(make_result) -> Peers:
    """Ours is the faster one in int8, a peer in fp32; the intervals of fp32 overlap."""
    result: BenchmarkResult = make_result()
    int8, fp32 = result.models
    models = (
        named(fp32, "keras predict fp32, plain", 160.0),
        named(int8, "litert int8, plain", 30.0),
        named(fp32, "onnx fp32, plain", 50.0, (49.0, 53.0)),
        named(int8, "litert int8, edgeseg", 20.0),
        named(fp32, "onnx fp32, edgeseg", 52.0, (51.0, 54.0)),
    )
    return Peers(replace(result, models=models, marks=("noisy: a test",)), ("openvino bf16: not here",))


def named(
    model: ModelResult, name: str, p50: float, interval: tuple[float, float] | None = None
) -> ModelResult:
    stages = {**model.latency.stages, "total": summarise([np.full(10, p50)])}
    latency = replace(model.latency, stages=stages, intervals={"p50": interval} if interval else {})
    return replace(model, subject=replace(model.subject, name=name), latency=latency)


def test_a_row_has_both_and_their_ratio(peers: Peers) -> None:
    rows = {row[1]: dict(zip(HEADER, row, strict=True)) for row in peers.rows()}
    assert list(rows) == ["keras predict", "onnx", "litert"]
    assert rows["litert"]["plain / edgeseg"] == "1.50"
    assert rows["onnx"]["plain / edgeseg"] == "0.96"
    assert (rows["keras predict"]["edgeseg, ms"], rows["keras predict"]["plain / edgeseg"]) == ("", "")
    assert rows["onnx"]["mIoU plain"] == "72.0"


def test_the_headlines_say_who_is_faster_and_whether_it_may_be_chance(peers: Peers) -> None:
    first, *others = peers.headlines()
    assert first.startswith("litert int8, edgeseg is 8.0 times as fast as keras predict fp32")
    assert others[0].startswith("In fp32 a peer is faster than edgeseg, by 4 %")
    assert others[0].endswith("and their confidence intervals overlap.")
    assert others[1].startswith("In int8 edgeseg is the fastest, by 50 %")
    assert not others[1].endswith("overlap.")
    assert replace(peers, result=replace(peers.result, models=peers.result.models[:3])).headlines() == []


def test_what_the_numbers_lack_comes_before_them(peers: Peers, tmp_path: Path) -> None:
    write_peers(peers, tmp_path)
    text = (tmp_path / "peers.md").read_text()
    assert text.count("noisy: a test") == 1
    assert text.index("Read these numbers with care") < text.index("8.0 times") < text.index("| precision |")
    assert "Left out:\n\n- openvino bf16: not here" in text
    assert "## The benchmark of all 5 models" in text
    assert "incomplete" not in text
    stopped = replace(peers, result=replace(peers.result, state="partial"))
    assert stopped.markdown().count("incomplete: the run was stopped") == 1


def test_the_page_begins_with_the_peers(peers: Peers, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    write_pictures(peers.result, tmp_path, peers)
    page = (tmp_path / "report.html").read_text()
    assert page.index("Beside its peers") < page.index("<h2>Accuracy</h2>")
    assert "8.0 times as fast as keras predict fp32" in page
    assert "Left out: openvino bf16: not here" in page
    write_pictures(peers.result, tmp_path)
    assert "Beside its peers" not in (tmp_path / "report.html").read_text()
