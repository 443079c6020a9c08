"""A run beside an older one: what is slower is told, what cannot be compared is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.benchmarks.compare import changes, check_changes, read_old, require_comparable
from edgeseg.benchmarks.output import write_numbers
from edgeseg.benchmarks.schema import json_schema, parse_document
from edgeseg.benchmarks.summary import summarise
from edgeseg.errors import DataError, LatencyGateError, UsageError


@pytest.fixture
def old(make_result, tmp_path: Path) -> Path:
    write_numbers(make_result(), tmp_path)
    return tmp_path / "benchmark.json"


def slowed(result: Any, factor: float, interval: tuple[float, float] | None = None) -> Any:
    """The first model with all its times so many times as long."""
    first, *others = result.models
    total = summarise([np.full(100, first.latency.total.p50 * factor)])
    known = {} if interval is None else {"p50": interval, "p99": interval}
    latency = replace(first.latency, stages={**first.latency.stages, "total": total}, intervals=known)
    return replace(result, models=(replace(first, latency=latency), *others))


def test_a_regression_past_the_tolerance_fails(make_result, old: Path) -> None:
    found = changes(read_old(old), slowed(make_result(), 1.2), 0.05)
    assert [change.slower for change in found] == [("p50",), ()]
    with pytest.raises(LatencyGateError, match=r"more than 5 %.*street-litert-int8 in p50") as caught:
        check_changes(found, 0.05)
    assert caught.value.exit_code == 6
    check_changes(changes(read_old(old), slowed(make_result(), 1.04), 0.05), 0.05)
    check_changes(changes(read_old(old), slowed(make_result(), 0.5), 0.05), 0.05)
    then = make_result().models[0].latency.total.p50
    assert found[0].row()[1:4] == [f"{then:.2f}", f"{1.2 * then:.2f}", "+20.0 %"]


def test_what_may_be_chance_is_no_regression(make_result, old: Path) -> None:
    p50 = make_result().models[0].latency.total.p50
    unsure = slowed(make_result(), 1.2, interval=(p50, 1.4 * p50))
    check_changes(changes(read_old(old), unsure, 0.05), 0.05)


def test_only_what_can_be_compared_is(make_result, old: Path) -> None:
    document, result = read_old(old), make_result()
    names = [model.subject.name for model in result.models]
    require_comparable(document, names, result.host, result.options, result.frames)
    with pytest.raises(UsageError, match=r"the same machine as this one, Another"):
        require_comparable(
            document, names, replace(result.host, cpu="Another"), result.options, result.frames
        )
    with pytest.raises(UsageError, match="the same threads"):
        require_comparable(document, names, result.host, {**result.options, "threads": 4}, result.frames)
    with pytest.raises(UsageError, match="the same frame size"):
        require_comparable(document, names, result.host, result.options, {**result.frames, "size": "1x1"})
    with pytest.raises(UsageError, match="a run of one of: other"):
        require_comparable(document, ["other"], result.host, result.options, result.frames)


@pytest.mark.parametrize(
    ("text", "found"),
    [("{", "JSON"), ("{}", "schema: Field required"), ('{"schema": 1}', "schema: Input should be 2")],
)
def test_what_is_no_benchmark_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(DataError, match=found):
        read_old(path)
    with pytest.raises(UsageError, match="No such file"):
        read_old(tmp_path / "none.json")


def test_a_run_that_was_stopped_is_no_measure(make_result, tmp_path: Path) -> None:
    write_numbers(replace(make_result(), state="partial"), tmp_path)
    with pytest.raises(DataError, match="marked partial"):
        read_old(tmp_path / "benchmark.json")


def test_what_is_written_keeps_to_the_schema(make_result, old: Path, project_root: Path) -> None:
    document = parse_document(json.loads(old.read_text()), "it")
    assert [model.name for model in document.models] == [m.subject.name for m in make_result().models]
    assert document.models[0].miou == pytest.approx(0.71, abs=0.01)
    published = json.loads((project_root / "docs" / "benchmark.schema.json").read_text())
    assert published == json_schema(), "write docs/benchmark.schema.json again"
