"""The TensorRT runtime on a fake TensorRT and CUDA: order of calls, cache, failures, and what is freed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg import load
from edgeseg.errors import BundleError, EngineBuildError, InferenceError
from edgeseg.runtimes import RUNTIMES
from edgeseg.runtimes.tensorrt import TensorRT
from edgeseg.runtimes.tensorrt.cuda import CudaError
from edgeseg.runtimes.tensorrt.execution import WARM_UP_RUNS
from fake_tensorrt import ORIN_NANO, RTX_CARD, Rig

ILLEGAL_ADDRESS = CudaError("cudaErrorIllegalAddress", "an illegal memory access was encountered")
NOT_CAPTURED = CudaError(
    "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"
)
NO_MEMORY = CudaError("cudaErrorMemoryAllocation", "out of memory")


@pytest.fixture(params=[ORIN_NANO, RTX_CARD], ids=["integrated", "discrete"])
def any_rig(request: pytest.FixtureRequest, rig: Rig) -> Rig:
    rig.restart(gpu=request.param)
    return rig


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (32, 64, 3)).astype(np.uint8)


# Running.


def test_masks_are_the_graphs_and_belong_to_the_caller(any_rig: Rig, image: np.ndarray) -> None:
    model = any_rig.prepare().model
    first = model.infer(image).mask
    second = model.infer(255 - image).mask
    np.testing.assert_array_equal(first, image.argmax(-1))
    np.testing.assert_array_equal(second, (255 - image).argmax(-1))


@pytest.mark.parametrize("output", ["logits", "mask+confidence"])
def test_every_kind_of_output(
    tmp_path: Path, make_bundle: Callable[..., Path], image: np.ndarray, output: str
) -> None:
    model = Rig(tmp_path, make_bundle(output=output), RTX_CARD).prepare().model
    raw = model.infer(image)
    np.testing.assert_array_equal(raw.mask, image.argmax(-1))
    assert (raw.confidence is not None) == (output == "mask+confidence")


def test_frames_are_warmed_up_captured_and_then_launched(rig: Rig, image: np.ndarray) -> None:
    model = rig.prepare().model
    eager = ["upload", "execute", "download", "finish"]
    capture = ["begin_capture", "upload", "execute", "download", "end_capture", "launch", "finish"]
    started = ["allocate", "allocate", "create_stream", "create_event"]
    assert rig.cuda.calls[1 : 5 + 4 * WARM_UP_RUNS + 7] == started + eager * WARM_UP_RUNS + capture
    assert model.uses_graph
    rig.cuda.calls.clear()
    model.infer(image)
    assert rig.cuda.calls == ["launch", "finish"]


@pytest.mark.parametrize("where", ["begin_capture", "end_capture"])
def test_without_a_graph_frames_run_call_by_call_and_it_is_said_once(
    any_rig: Rig, image: np.ndarray, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    any_rig.cuda.failures[where] = NOT_CAPTURED
    model = any_rig.prepare().model
    assert not model.uses_graph
    for _ in range(2):
        np.testing.assert_array_equal(model.infer(image).mask, image.argmax(-1))
    assert caplog.text.count("without a CUDA graph: cudaErrorStreamCaptureUnsupported") == 1
    assert "clear_error" in any_rig.cuda.calls
    model.close()
    assert not any_rig.cuda.held


def test_tensorrt_that_cannot_be_captured_leaves_no_capture_open(rig: Rig, image: np.ndarray) -> None:
    real = rig.trt.module.IExecutionContext.execute_async_v3

    def refuses_while_capturing(self: Any, stream: int) -> bool:
        return rig.cuda._captured is None and real(self, stream)

    rig.trt.module.IExecutionContext = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fake_tensorrt.IExecutionContext.execute_async_v3", refuses_while_capturing)
        model = rig.prepare().model
        assert not model.uses_graph
        np.testing.assert_array_equal(model.infer(image).mask, image.argmax(-1))
    model.close()
    assert not rig.cuda.held


def test_closing_frees_everything_and_twice_is_harmless(any_rig: Rig, image: np.ndarray) -> None:
    model = any_rig.prepare().model
    assert any_rig.cuda.held
    model.close()
    model.close()
    assert not any_rig.cuda.held
    with pytest.raises(InferenceError, match="closed"):
        model.infer(image)


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("allocate", 0),
        ("allocate", 1),
        ("create_stream", 0),
        ("create_event", 0),
        ("upload", 0),
        ("finish", 0),
        ("finish", 1),
        ("launch", 0),
    ],
)
def test_a_load_that_fails_frees_what_it_had(any_rig: Rig, call: str, after: int) -> None:
    any_rig.cuda.failures[call], any_rig.cuda.fail_after[call] = NO_MEMORY, after
    with pytest.raises(EngineBuildError, match="cudaErrorMemoryAllocation"):
        any_rig.prepare()
    assert not any_rig.cuda.held
    assert not list(any_rig.cache.iterdir())


def test_a_context_without_memory_is_said_in_tensorrts_words(rig: Rig) -> None:
    rig.trt.context_error = "Error Code 2: OutOfMemory (no device memory for the context)"
    with pytest.raises(EngineBuildError, match="no device memory for the context"):
        rig.prepare()
    assert not rig.cuda.held


def test_a_cuda_error_is_named_and_the_next_frame_runs(rig: Rig, image: np.ndarray) -> None:
    model = rig.prepare().model
    rig.cuda.failures["launch"] = NO_MEMORY
    with pytest.raises(InferenceError, match=r"cudaErrorMemoryAllocation.*edgeseg verify") as caught:
        model.infer(image)
    assert caught.value.exit_code == 9
    rig.cuda.failures.clear()
    np.testing.assert_array_equal(model.infer(image).mask, image.argmax(-1))


def test_after_a_lost_context_every_frame_asks_for_a_restart(rig: Rig, image: np.ndarray) -> None:
    model = rig.prepare().model
    rig.cuda.failures["finish"] = ILLEGAL_ADDRESS
    rig.cuda.calls.clear()
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"cudaErrorIllegalAddress.*restart the process"):
            model.infer(image)
    assert rig.cuda.calls == ["launch", "finish"], "a lost context was used again"
    rig.cuda.failures.update(dict.fromkeys(("free", "destroy_stream", "destroy_event"), ILLEGAL_ADDRESS))
    model.close()


def test_a_failure_of_tensorrt_itself_is_an_inference_error(rig: Rig, image: np.ndarray) -> None:
    rig.cuda.failures["begin_capture"] = NOT_CAPTURED
    model = rig.prepare().model
    rig.trt.execute_error = "Error Code 1: Cask (kernel failed)"
    with pytest.raises(InferenceError, match="kernel failed"):
        model.infer(image)


def test_an_engine_of_another_shape_than_the_manifest_says(
    tmp_path: Path, make_bundle: Callable[..., Path], make_onnx: Callable[..., bytes]
) -> None:
    rig = Rig(tmp_path, make_bundle(model=make_onnx(32, 128)))
    with pytest.raises(BundleError, match=r"expected one input uint8 \[1, 32, 64, 3\]"):
        rig.prepare()
    assert not rig.cuda.held


# As users meet it.


@pytest.fixture
def installed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setitem(RUNTIMES, "tensorrt", rig.runtime)
    monkeypatch.setattr(TensorRT, "version", lambda self: "10.3.0")
    return rig


def test_load_prefers_it_where_it_runs(installed: Rig, image: np.ndarray) -> None:
    with load(installed.path, threads=4) as segmenter:
        assert (segmenter.runtime_name, segmenter.threads) == ("tensorrt", 1)
        np.testing.assert_array_equal(segmenter.predict(image), image.argmax(-1))
    assert not installed.cuda.held


def test_without_a_gpu_the_next_runtime_is_taken(rig: Rig, image: np.ndarray) -> None:
    with load(rig.path) as segmenter:
        assert segmenter.runtime_name == "onnx"


def test_build_prints_engine_time_and_next_command(
    installed: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "my cache"
    _edgeseg(monkeypatch, "build", installed.path, "--cache", place, "--json")
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert values["built"]
    assert values["cuda_graph"]
    assert Path(values["engine"]).parent == place / "engines"
    assert (Path(values["engine"]) / "model.engine").is_file()
    assert f"EDGESEG_CACHE='{place}' edgeseg run {installed.path} --source /dev/video0" in err
    assert not installed.cuda.held
    _edgeseg(monkeypatch, "build", installed.path, "--cache", place)
    assert "there was one already" in capsys.readouterr().err
    _edgeseg(monkeypatch, "build", installed.path, "--cache", place, "--rebuild", "--json")
    assert json.loads(capsys.readouterr().out)["built"]


def test_what_build_made_is_what_run_loads(
    installed: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        RUNTIMES,
        "tensorrt",
        TensorRT(None, installed.root, lambda: installed.trt.api, lambda: installed.cuda),
    )
    _edgeseg(monkeypatch, "build", installed.path, "--cache", tmp_path / "own")
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path / "own"))
    assert installed.builds == 1
    load(installed.path).close()
    assert installed.builds == 1


def test_build_refuses_a_bundle_that_is_not_for_tensorrt(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _edgeseg(monkeypatch, "build", make_bundle("plain")) == 2
    assert "for runtime tensorrt" in capsys.readouterr().err


def test_build_without_tensorrt_says_what_mends_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TensorRT, "version", lambda self: None)
    assert _edgeseg(monkeypatch, "build", rig.path) == 2
    assert f"Mend it with: {RUNTIMES['tensorrt'].remedy}" in capsys.readouterr().err


def _edgeseg(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    from edgeseg.cli import main

    monkeypatch.setattr("sys.argv", ["edgeseg", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
