"""The TensorRT runtime on a fake TensorRT and CUDA: order of calls, cache, failures, and what is freed."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeseg import load
from edgeseg.bundle import Bundle
from edgeseg.errors import BundleError, EngineBuildError, GoldenMismatchError, InferenceError, OutputError
from edgeseg.runtimes import RUNTIMES
from edgeseg.runtimes.tensorrt import TensorRT
from edgeseg.runtimes.tensorrt.cuda import CudaError
from edgeseg.runtimes.tensorrt.execution import WARM_UP_RUNS
from edgeseg.runtimes.tensorrt.memory import GIB, MIB
from fake_tensorrt import ORIN_NANO, RTX_CARD, FakeCuda, FakeTensorRT, ParserError

ILLEGAL_ADDRESS = CudaError("cudaErrorIllegalAddress", "an illegal memory access was encountered")
NOT_CAPTURED = CudaError(
    "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"
)
NO_MEMORY = CudaError("cudaErrorMemoryAllocation", "out of memory")


class Rig:
    """A device with a runtime on it, and a bundle for it."""

    def __init__(self, folder: Path, bundle: Path, gpu: Any = ORIN_NANO) -> None:
        self.cache, self.root, self.path = folder / "engines", folder / "root", bundle
        self.bundle = Bundle.open(bundle)
        self.model = self.bundle.manifest.models[0]
        self.cuda = FakeCuda(gpu)
        self.trt = FakeTensorRT(self.cuda)

    @property
    def runtime(self) -> TensorRT:
        return TensorRT(self.cache, self.root, lambda: self.trt.api, lambda: self.cuda)

    def prepare(self, **options: Any) -> Any:
        return self.runtime.prepare(self.bundle, self.model, **options)

    def restart(self, **changes: Any) -> None:
        """Another process: the device as new, the cache as it is."""
        self.cuda = FakeCuda(changes.pop("gpu", ORIN_NANO))
        self.trt = FakeTensorRT(self.cuda, **changes)

    @property
    def builds(self) -> int:
        return len(self.trt.workspaces)


@pytest.fixture
def rig(tmp_path: Path, make_bundle: Callable[..., Path]) -> Rig:
    names = {"names": ("tensorrt", "onnx"), "verified_with": {}}
    return Rig(tmp_path, make_bundle(runtime=names))


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
    for _ in range(2):
        with pytest.raises(InferenceError, match=r"cudaErrorIllegalAddress.*restart the process"):
            model.infer(image)
    assert rig.cuda.calls[-2:] == ["launch", "finish"], "a lost context was used again"
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


# The cache.


def test_an_engine_is_built_once_and_outside_the_bundle(rig: Rig, image: np.ndarray) -> None:
    first = rig.prepare()
    assert first.built
    assert first.path.parent == rig.cache
    assert sorted(file.name for file in first.path.iterdir()) == ["engine.json", "model.engine"]
    Bundle.open(rig.path)  # still the closed set of files that it was
    rig.restart()
    second = rig.prepare()
    assert (second.built, second.path, rig.builds) == (False, first.path, 0)
    np.testing.assert_array_equal(second.model.infer(image).mask, image.argmax(-1))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "10.7.0"},
        {"flavour": "tensorrt_rtx"},
        {"gpu": RTX_CARD},
        {"gpu": SimpleNamespace(**{**vars(ORIN_NANO), "multiprocessors": 16})},
    ],
    ids=["version", "flavour", "gpu", "multiprocessors"],
)
def test_another_device_or_tensorrt_builds_its_own(rig: Rig, changes: dict[str, Any]) -> None:
    path = rig.prepare().path
    rig.restart(**changes)
    again = rig.prepare()
    assert again.built
    assert again.path != path


def test_another_l4t_builds_its_own(rig: Rig) -> None:
    path = rig.prepare().path
    release = rig.root / "etc/nv_tegra_release"
    release.parent.mkdir(parents=True)
    release.write_text("# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n")
    again = rig.prepare()
    assert again.built
    assert again.path != path
    assert json.loads((again.path / "engine.json").read_text())["key"]["l4t"] == "R36.4.3"


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def _to_link(file: Path) -> None:
    other = file.with_name("elsewhere")
    file.rename(other)
    file.symlink_to(other)


def _other_key(file: Path) -> None:
    sidecar = json.loads((file.parent / "engine.json").read_text())
    sidecar["key"]["gpu"] = "another"
    (file.parent / "engine.json").write_text(json.dumps(sidecar))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, "its hash is another"),
        (lambda file: file.write_bytes(b""), "its hash is another"),
        (lambda file: file.unlink(), "cannot be read"),
        (_to_link, "cannot be read"),
        (lambda file: (file.parent / "engine.json").write_text("{"), "cannot be read"),
        (lambda file: (file.parent / "engine.json").write_text("[]"), "of another kind"),
        (_other_key, "of another model"),
    ],
    ids=["flipped", "emptied", "gone", "link", "half a sidecar", "no sidecar", "key"],
)
def test_a_damaged_engine_is_built_again(
    rig: Rig, damage: Callable[[Path], Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    damage(rig.prepare().path / "model.engine")
    rig.restart()
    again = rig.prepare()
    assert again.built
    assert said in caplog.text
    rig.restart()
    assert not rig.prepare().built


def test_an_engine_that_does_not_load_is_built_again(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.prepare()
    rig.restart()
    rig.trt.mark = b"NEWER"
    assert rig.prepare().built
    assert "version tag does not match" in caplog.text


def test_an_engine_with_other_masks_is_not_kept(rig: Rig) -> None:
    rig.trt.wrong_masks = True
    with pytest.raises(GoldenMismatchError, match=r"tensorrt 10\.3\.0 on Orin"):
        rig.prepare()
    assert not list(rig.cache.iterdir())
    assert not rig.cuda.held


def test_a_rebuild_that_fails_its_test_leaves_the_old_engine(rig: Rig) -> None:
    rig.prepare()
    rig.restart()
    rig.trt.wrong_masks = True
    with pytest.raises(GoldenMismatchError):
        rig.prepare(rebuild=True)
    rig.restart()
    assert not rig.prepare().built


def test_a_rebuild_is_one(rig: Rig) -> None:
    path = rig.prepare().path
    rig.restart()
    again = rig.prepare(rebuild=True)
    assert (again.built, again.path, rig.builds) == (True, path, 1)


def test_the_log_says_that_it_builds_and_how_long_it_took(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        rig.prepare()
    assert "no engine has been built" in caplog.text
    assert "built in 0." in caplog.text


def test_a_cache_that_cannot_be_written_is_said_before_the_build(rig: Rig) -> None:
    rig.cache.write_text("a file")
    with pytest.raises(OutputError):
        rig.prepare()
    assert rig.builds == 0


def test_a_draft_without_golden_frames_runs_and_is_not_kept(rig: Rig, image: np.ndarray) -> None:
    members = {name: data for name, data in rig.bundle.members.items() if name != "golden.npz"}
    draft = Bundle(rig.bundle.path, rig.bundle.manifest, rig.bundle.labels, members)
    prepared = rig.runtime.prepare(draft, rig.model)
    assert prepared.path is None
    assert not rig.cache.exists()
    np.testing.assert_array_equal(prepared.model.infer(image).mask, image.argmax(-1))


def test_only_the_owner_may_put_engines_there(rig: Rig) -> None:
    rig.prepare()
    assert rig.cache.stat().st_mode & 0o077 == 0


# Building.


def test_the_network_is_strongly_typed_where_there_is_another_kind(rig: Rig) -> None:
    rig.prepare()
    assert rig.trt.network_flags == 1 << 1
    rig.trt.module.NetworkDefinitionCreationFlag = object
    rig.prepare(rebuild=True)
    assert rig.trt.network_flags == 0


def test_timings_serve_the_next_build_on_the_device(rig: Rig) -> None:
    rig.prepare()
    rig.prepare(rebuild=True)
    rig.prepare(rebuild=True)
    assert rig.trt.timing_caches == [b"", b"+timed", b"+timed+timed"]


def test_timings_that_are_damaged_or_refused_are_begun_anew(rig: Rig) -> None:
    rig.prepare()
    _flip(next(rig.cache.glob("timings-*")))
    rig.prepare(rebuild=True)
    assert rig.trt.timing_caches == [b"", b""]
    rig.trt.refused_timings = [b"+timed"]
    rig.prepare(rebuild=True)
    assert rig.trt.timing_caches[2:] == [b"+timed", b""]


def test_rtx_has_no_timings(rig: Rig) -> None:
    rig.restart(flavour="tensorrt_rtx", version="1.7.1")
    rig.prepare()
    assert not rig.trt.timing_caches
    assert not list(rig.cache.glob("timings-*"))


def test_a_small_board_is_given_one_gigabyte_and_less_while_memory_is_short(rig: Rig) -> None:
    rig.trt.memory_for_build = 200 * MIB
    rig.prepare()
    assert rig.trt.workspaces == [GIB, GIB // 2, GIB // 4, GIB // 8]


def test_a_large_card_is_given_more(rig: Rig) -> None:
    rig.restart(gpu=RTX_CARD)
    rig.cuda._free = 20 * GIB
    rig.prepare()
    assert rig.trt.workspaces == [4 * GIB]


def test_memory_that_never_suffices_says_what_to_do(rig: Rig) -> None:
    rig.trt.memory_for_build = 0
    with pytest.raises(EngineBuildError, match=r"OutOfMemory.*end the desktop.*swap") as caught:
        rig.prepare()
    assert caught.value.exit_code == 4
    assert rig.trt.workspaces[-1] == 64 * MIB


def test_too_little_memory_is_said_before_anything_is_tried(rig: Rig) -> None:
    rig.cuda._free = 300 * MIB
    with pytest.raises(EngineBuildError, match=r"0\.6 GiB of free memory.*0\.3 GiB available"):
        rig.prepare()
    assert rig.builds == 0


@pytest.mark.parametrize(("gpu", "workspace"), [(ORIN_NANO, GIB), (RTX_CARD, None)], ids=["shared", "own"])
def test_what_linux_could_free_counts_where_memory_is_shared(
    rig: Rig, gpu: Any, workspace: int | None
) -> None:
    meminfo = rig.root / "proc/meminfo"
    meminfo.parent.mkdir(parents=True)
    meminfo.write_text("MemTotal: 7800000 kB\nMemFree: 200000 kB\nMemAvailable: 5000000 kB\n")
    rig.restart(gpu=gpu)
    rig.cuda._free = 300 * MIB
    if workspace is None:
        with pytest.raises(EngineBuildError, match="available"):
            rig.prepare()
    else:
        rig.prepare()
        assert rig.trt.workspaces == [workspace]


def test_a_failure_that_less_memory_does_not_mend_is_not_tried_again(rig: Rig) -> None:
    rig.trt.build_error = "Error Code 10: Internal Error (Could not find any implementation for node up1)"
    with pytest.raises(EngineBuildError, match="implementation for node up1"):
        rig.prepare()
    assert rig.builds == 1


def test_every_parser_error_names_node_and_operation(rig: Rig) -> None:
    rig.trt.parser_errors = [
        ParserError("no importer", "up1", "GridSample", 7),
        ParserError("bad\n shape", "", "Resize", 9),
        *[ParserError("more", f"n{index}", "Conv") for index in range(4)],
    ]
    with pytest.raises(EngineBuildError) as caught:
        rig.prepare()
    text = str(caught.value)
    assert "node 'up1' (GridSample): no importer; node 9 (Resize): bad shape; " in text
    assert "and 1 more" in text
    assert "tensorrt 10.3.0" in text


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
