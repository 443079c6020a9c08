"""Labelling measured in several ways, and what a fleet's footage costs at the measured rates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.benchmarks.label_speed import (
    LabelSpeed,
    measure_labelling,
    read_rates,
    rows,
    write_label_speed,
)
from edgeseg.bundle import Bundle
from edgeseg.cli.benchmark_label import _counts
from edgeseg.cli.label_cost import label_cost
from edgeseg.errors import DataError, UsageError
from edgeseg.labelling.labeller import UnitResult
from edgeseg.labelling.run import Plan, Workers, in_one_process, make_plan
from edgeseg.labelling.sources import Unit
from toys import write_bundle, write_video


@pytest.fixture
def result(tmp_path: Path) -> LabelSpeed:
    """Two rounds of one process, and of one that says it took twice the time."""
    source = tmp_path / "drives"
    source.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(source / name, frames=12)
    bundle = Bundle.open(write_bundle(tmp_path / "toy.edgeseg"))
    return measure_labelling(
        lambda folder: make_plan(bundle, source, folder, shard_size=4, stride=2),
        {"one process": _timed(1.0), "Ray, 2 actors": _timed(0.5)},
        rounds=2,
        threads=1,
        command="edgeseg benchmark-label",
    )


def test_rates_and_bytes_are_those_of_the_shards(result: LabelSpeed, tmp_path: Path) -> None:
    assert result.frames == 12
    assert [way.fps for way in result.ways] == [6.0, 12.0]
    assert rows(result)[2][4] == "2.00"
    assert 0 < result.mask_bytes < result.shard_bytes
    write_label_speed(result, tmp_path / "speed")
    rates = read_rates(tmp_path / "speed.json")
    assert rates.frames_per_second == 12.0
    assert rates.bytes_per_frame == pytest.approx(result.shard_bytes, abs=0.1)
    assert "12 frames of 2 files" in (tmp_path / "speed.md").read_text()


def test_cost_of_the_measured(result: LabelSpeed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_label_speed(result, tmp_path / "speed")
    label_cost(tmp_path / "speed.json", hours=12, video_fps=4, machines=2, price=3, json=True)
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert cost["frames"] == 86_400
    assert cost["machine_hours"] == pytest.approx(2)
    assert cost["days"] == pytest.approx(1 / 24)
    assert cost["price"] == pytest.approx(6)


@pytest.mark.parametrize("text", [None, "{", "{}", '{"ways": []}'])
def test_a_file_of_something_else(text: str | None, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "speed.json").write_text(text)
    with pytest.raises(DataError, match="a file that edgeseg benchmark-label wrote"):
        read_rates(tmp_path / "speed.json")


@pytest.mark.parametrize("text", ["", "two", "1,0"])
def test_actors_that_are_no_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="--actors"):
        _counts(text)


def _timed(seconds: float) -> Workers:
    """Label in this process, and say that each unit took so many seconds, one after the other."""

    def work(plan: Plan, units: Sequence[Unit]) -> Iterator[UnitResult]:
        for place, unit in enumerate(in_one_process(1)(plan, units)):
            yield replace(unit, started=place * seconds, ended=(place + 1) * seconds)

    return work
