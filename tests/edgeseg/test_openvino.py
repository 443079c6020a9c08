"""What is OpenVINO's own: graphs that must not run, what it computes in, and what it must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeseg import load
from edgeseg.bundle import Bundle, Manifest
from edgeseg.errors import BundleError, UnsafeModelError
from edgeseg.runtimes import openvino_ir
from edgeseg.runtimes.openvino import import_openvino
from edgeseg.runtimes.openvino_ir import unsafe_part
from toys import openvino_model

GRAPH, WEIGHTS = openvino_model(32, 64)

# Ten levels of ten: 10^10 letters, were they ever unpacked.
BOMB = "<!DOCTYPE net [<!ENTITY a0 'x'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 11)
) + "]>"  # fmt: skip


def _changed(old: str, new: str) -> bytes:
    assert old in GRAPH
    return GRAPH.replace(old, new, 1).encode()


@pytest.fixture
def make_openvino(make_bundle: Any) -> Any:
    """``make_openvino(graph=..., weights=..., **changes)``: the toy bundle with another graph."""

    def make(graph: bytes = GRAPH.encode(), weights: bytes = WEIGHTS, **changes: Any) -> Path:
        return make_bundle(file="model.xml", model=graph, weights=weights, **changes)

    return make


@pytest.mark.parametrize(
    ("graph", "found"),
    [
        (_changed("<net", BOMB + "<net").replace(b'"toy"', b'"&a10;"'), "document type"),
        (_changed("<net", "<!DOCTYPE net SYSTEM 'file:///etc/passwd'><net"), "document type"),
        (
            _changed('type="Squeeze" version="opset1"', 'type="Evil" version="extension"'),
            "'Evil' of 'extension'",
        ),
        (_changed('type="Squeeze" version="opset1"', 'type="Squeeze"'), "'Squeeze' of 'nowhere'"),
        (_changed('type="Squeeze" version="opset1"', 'type="Evil" version="opset1"'), "Evil"),
        (_changed('offset="0" size="8"', 'offset="0" size="8" path="/etc/passwd"'), "'path' of 'data'"),
        (_changed('offset="0" size="8"', 'offset="0" size="8" source="x"'), "'source' of 'data'"),
        (_changed('<net name="toy"', '<net name="toy" weights_path="/etc/x"'), "'weights_path' of 'net'"),
        (_changed("<edges>", "<body/><edges>"), "'body' inside 'net'"),
        (_changed("<edges>", "<extensions/><edges>"), "'extensions' inside 'net'"),
    ],
)
def test_graphs_that_reach_outside_are_refused(make_openvino: Any, graph: bytes, found: str) -> None:
    with pytest.raises(UnsafeModelError, match=found):
        load(make_openvino(graph))


@pytest.mark.parametrize(
    "graph",
    [
        b"",
        GRAPH[:-9].encode(),
        GRAPH.encode("utf-16"),
        GRAPH.replace('"toy"', '"\x00"').encode(),
        _changed("<edges>", "<rt_info>" + "<a>" * 90 + "</a>" * 90 + "</rt_info><edges>"),
    ],
    ids=["empty", "cut off", "other characters", "a zero byte", "deep"],
)
def test_damaged_graphs_never_reach_native_code(
    make_openvino: Any, graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_openvino().Core, "read_model", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(BundleError, match="damaged bytes") as caught:
        load(make_openvino(graph))
    assert not isinstance(caught.value, UnsafeModelError)


def test_a_graph_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unsafe_part(GRAPH.encode()) is None
    monkeypatch.setattr(openvino_ir, "MAX_GRAPH_BYTES", len(GRAPH) - 1)
    with pytest.raises(ValueError, match="at most"):
        unsafe_part(GRAPH.encode())


def test_notes_may_have_any_names(make_openvino: Any) -> None:
    graph = _changed("<edges>", '<rt_info><tool path="/x"><file value="y"/></tool></rt_info><edges>')
    load(make_openvino(graph)).close()


def test_a_constant_that_reaches_past_the_weights(make_openvino: Any) -> None:
    with pytest.raises(BundleError, match=r"model\.xml.*that it can load"):
        load(make_openvino(weights=WEIGHTS[:12]))


def test_the_weights_count_in_its_size(make_openvino: Any) -> None:
    bundle = Bundle.open(make_openvino())
    assert bundle.model_size(bundle.manifest.models[0]) == len(GRAPH) + len(WEIGHTS)


def test_the_weights_are_a_member_like_any_other(make_openvino: Any) -> None:
    bundle = make_openvino()
    (bundle / "model.bin").write_bytes(bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:])
    with pytest.raises(BundleError, match=r"model\.bin.*SHA-256"):
        load(bundle)
    (bundle / "model.bin").unlink()
    with pytest.raises(BundleError, match=r"model\.bin"):
        load(bundle)


@pytest.mark.parametrize(
    ("file", "weights"), [("model.xml", None), ("model.onnx", b"some"), ("model.tflite", b"some")]
)
def test_only_openvino_models_have_weights_apart(make_bundle: Any, file: str, weights: bytes | None) -> None:
    with pytest.raises(ValueError, match="weights of the"):
        make_bundle(file=file, model=b"some", weights=weights)


def test_weights_that_are_no_member_are_refused(make_openvino: Any) -> None:
    bundle = make_openvino()
    members = [m for m in _manifest(bundle).members if m.file != "model.bin"]
    whole = _manifest(bundle).model_copy(update={"members": tuple(members)})
    (bundle / "manifest.json").write_bytes(whole.to_bytes())
    with pytest.raises(BundleError, match=r"model\.bin.*named in the manifest"):
        load(bundle)


def test_manifests_without_weights_are_as_they_ever_were(make_bundle: Any) -> None:
    """Older releases know no such field, and refuse what they do not know."""
    assert b"weights" not in (make_bundle() / "manifest.json").read_bytes()


def _manifest(bundle: Path) -> Manifest:
    return Bundle.open(bundle).manifest


class TestWhatItComputesIn:
    """fp32 in float32 on every CPU, also where bfloat16 would be faster; bf16 where the CPU has it."""

    def _with_precision(self, make_openvino: Any, precision: str) -> Path:
        bundle = make_openvino()
        model = _manifest(bundle).models[0].model_copy(update={"precision": precision})
        whole = _manifest(bundle).model_copy(update={"models": (model,)})
        (bundle / "manifest.json").write_bytes(whole.to_bytes())
        return bundle

    @pytest.mark.parametrize("precision", ["fp32", "fp16"])
    def test_float32(self, make_openvino: Any, precision: str) -> None:
        with load(self._with_precision(make_openvino, precision), self_test=False) as segmenter:
            assert segmenter.computes_in == "f32"

    @pytest.mark.parametrize("precision", ["bf16", "int8"])
    def test_bfloat16_where_the_cpu_has_it(self, make_openvino: Any, precision: str) -> None:
        able = "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        with load(self._with_precision(make_openvino, precision), self_test=False) as segmenter:
            assert segmenter.computes_in == ("bf16" if able else "f32")

    def test_other_runtimes_do_as_the_file_says(self, bundle: Path) -> None:
        with load(bundle) as segmenter:
            assert segmenter.computes_in is None


def test_one_stream_on_so_many_threads(make_openvino: Any) -> None:
    with load(make_openvino(), threads=1) as segmenter:
        compiled = segmenter._runtime._request.get_compiled_model()
        assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
        assert compiled.get_property("NUM_STREAMS") == 1


def test_it_sends_and_leaves_nothing(make_openvino: Any, tmp_path: Path) -> None:
    """OpenVINO's import alone would write an identifier into the home folder and call its makers."""
    home = tmp_path / "home"
    home.mkdir()
    script = """
import socket, sys
import numpy as np

def refused(*_):
    raise AssertionError("a connection")

socket.socket.connect = refused
import edgeseg
with edgeseg.load(sys.argv[1]) as segmenter:
    segmenter(np.zeros((48, 64, 3), np.uint8))
assert "openvino" in sys.modules and not sys.modules.get("openvino_telemetry")
"""
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"HOME": str(home)}
    command = [sys.executable, "-c", script, str(make_openvino())]
    subprocess.run(command, check=True, timeout=120, env=environment)
    assert list(home.iterdir()) == []
