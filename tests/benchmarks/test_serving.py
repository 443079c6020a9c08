"""Services side by side: what is measured, and how it is written down."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.serving import Options, Service, ServingSpeed, Turn, measure_services
from edgeseg.benchmarks.serving_report import ServingBenchmark, conclusion, rows, write_serving_benchmark
from edgeseg.errors import InferenceError

HOST = Host("A CPU", 2, 8.0, "Linux", "x86_64", "performance", 0.1, "3.11", {})
STUB = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answered = 0

    def do_GET(self):
        self.answer(200, b"live")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Handler.answered += 1
        # Those of the warm-up get one, and then every second one.
        good = body.count(b"filename=") == 1 and (Handler.answered < 6 or Handler.answered % 2)
        self.answer(200 if good else 503, open(sys.argv[2], "rb").read())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service that gives a mask, and from the sixth request on only every second time."""
    (tmp_path / "stub_service.py").write_text(STUB)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    mask = tmp_path / "mask.png"
    cv2.imwrite(str(mask), np.eye(8, dtype=np.uint8))
    return Service("a stub", ("stub_service", "{port}", str(mask)), "/predict")


def test_what_is_answered_is_timed_and_what_is_not_is_counted(stub: Service) -> None:
    seen: list[tuple[int, int]] = []
    options = Options(clients=(1, 3), seconds=0.2, rounds=2)
    [speed] = measure_services([stub], b"picture", options, lambda *done: seen.append(done))
    assert seen[-1] == (4, 4)
    assert {count: len(turns) for count, turns in speed.turns.items()} == {1: 2, 3: 2}
    turns = [turn for turns in speed.turns.values() for turn in turns]
    # Each of eight clients has sent at least one.
    assert sum(len(turn.times) for turn in turns) >= 3
    assert sum(turn.failures for turn in turns) >= 3
    assert all((turn.times > 0).all() and turn.seconds >= 0.2 for turn in turns)
    np.testing.assert_array_equal(speed.mask, np.eye(8))
    assert speed.peak_mib > 1


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    service = Service("nothing", ("no_such_module_anywhere", "{port}"), "/")
    with pytest.raises(InferenceError, match="no_such_module_anywhere"):
        measure_services([service], b"", Options())


def _speed(name: str, times: list[float], mask: list[list[int]]) -> ServingSpeed:
    turn = Turn(np.array(times), 2.0, 1)
    return ServingSpeed(name, {1: (turn,), 4: (turn, turn)}, 100.0, np.array(mask, np.uint8))


def test_what_is_written(tmp_path: Path) -> None:
    ours = _speed("ours", [10.0] * 90 + [50.0] * 10, [[0, 1], [2, 2]])
    plain = _speed("plain", [200.0] * 10, [[0, 1], [2, 0]])
    result = ServingBenchmark("now", "edgeseg benchmark-serve B", HOST, {"bundle": "B"}, (ours, plain))
    write_serving_benchmark(result, tmp_path / "serve")
    values = json.loads((tmp_path / "serve.json").read_text())
    first = values["services"][0]["clients"]["4"]
    assert (first["masks_per_second"], first["ms"]["p50"], first["ms"]["p99"]) == (50.0, 10.0, 50.0)
    assert (first["requests"], first["failures"]) == (200, 2)
    assert (values["throughput_ratio"], values["mask_agreement"]) == ({"1": 10.0, "4": 10.0}, 0.75)
    text = (tmp_path / "serve.md").read_text()
    assert "75.0 % of the pixels" in text
    assert "| ours | 1 | 50.0 | 10.0 | 50.0 | 50.0 | 1 |" in text
    assert "goal of 5 is reached" in (conclusion(result) or "")


def test_a_goal_that_is_missed_and_a_service_alone() -> None:
    ours, plain = _speed("ours", [10.0] * 20, [[0]]), _speed("plain", [10.0] * 10, [[0, 1]])
    both = ServingBenchmark("now", "c", HOST, {}, (ours, plain))
    assert "not reached" in (conclusion(both) or "")
    assert both.agreement() == 0.0
    alone = ServingBenchmark("now", "c", HOST, {}, (ours,))
    assert (conclusion(alone), alone.agreement(), alone.ratios()) == (None, None, {})
    none = ServingBenchmark("now", "c", HOST, {}, (_speed("ours", [], [[0]]), plain))
    assert rows(none)[0][3] == "none"
    assert both.to_dict()["services"][1]["clients"]["1"]["masks_per_second"] == 5.0


@pytest.mark.heavy
def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours for real; the plain one is tested where Keras is, in ``tests/export``."""
    from typer.testing import CliRunner

    from edgeseg.cli.app import app

    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    monkeypatch.setattr(sys, "argv", ["edgeseg", "benchmark-serve"])
    options = ["--clients", "1,40", "--seconds", "0.3", "--rounds", "1", "--out", str(tmp_path / "serve")]
    ran = CliRunner().invoke(app, ["benchmark-serve", str(bundle), *options, "--json"])
    assert ran.exit_code == 0, ran.output
    [service] = json.loads((tmp_path / "serve.json").read_text())["services"]
    assert all(values["failures"] == 0 for values in service["clients"].values())
    assert service["clients"]["40"]["requests"] >= 40
    wrong = CliRunner().invoke(app, ["benchmark-serve", str(bundle), "--clients", "1,many"])
    assert "--clients" in str(wrong.exception)
