"""Every line is whole, and the file stays within its bound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseg.errors import SinkError
from edgeseg.loop.sinks import JsonLinesSink, open_sink
from toy_masks import DIGEST, published


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_for_each_mask_and_each_event(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    sink = open_sink(str(path), 25)
    sink.write(published(7, state="DEGRADED", reason="slow", late=True, epoch=2))
    assert len(lines(path)) == 1, "a line is there at once"
    assert isinstance(sink, JsonLinesSink)
    sink.event({"event": "state", "state": "FAILED", "reason": "no camera"})
    sink.finish(1)
    sink.close()
    sink.close()
    mask, event = lines(path)
    assert mask["classes"] == {"road": 0.5, "car": 0.5, "tree": 0.0}
    assert (mask["sequence"], mask["epoch"], mask["state"], mask["reason"]) == (7, 2, "DEGRADED", "slow")
    assert (mask["valid"], mask["late"], mask["digest"], mask["age_ms"]) == (True, True, DIGEST, 40.0)
    assert mask["published_ns"] - mask["captured_ns"] == 40_000_000  # type: ignore[operator]
    assert (event["event"], event["reason"]) == ("state", "no camera")
    assert sink.output == path


def test_the_file_is_rotated_and_one_old_one_kept(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    sink = JsonLinesSink(path, max_mb=0.002)
    for sequence in range(1, 31):
        sink.write(published(sequence))
    sink.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "log.jsonl.1"]
    assert all(p.stat().st_size <= 2000 for p in tmp_path.iterdir())
    sequences = [line["sequence"] for line in [*lines(tmp_path / "log.jsonl.1"), *lines(path)]]
    assert sequences == list(range(31 - len(sequences), 31))


def test_a_line_that_a_killed_process_left_unfinished_spoils_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "mask"}\n{"eve')
    sink = JsonLinesSink(path)
    sink.event({"event": "start"})
    sink.close()
    _, torn, last = path.read_text().splitlines()
    assert torn == '{"eve'
    assert json.loads(last)["event"] == "start"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a file system that is always full")
def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").symlink_to("/dev/full")
    sink = JsonLinesSink(tmp_path / "log.jsonl")
    with pytest.raises(SinkError, match="free space"):
        sink.event({"event": "start"})
    sink.close()


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(SinkError, match="appended"):
        open_sink(str(tmp_path / "log.jsonl"), 25)


def test_standard_output() -> None:
    code = (
        "from edgeseg.loop.sinks import open_sink; from toy_masks import published\n"
        "sink = open_sink('-', 25); sink.write(published(3)); sink.close(); print('still open')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    line, rest = done.stdout.splitlines()
    assert json.loads(line)["sequence"] == 3
    assert rest == "still open"
