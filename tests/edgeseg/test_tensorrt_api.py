"""The names that edgeseg uses of TensorRT and CUDA, held against the real ones; none of them needs a GPU.

``EDGESEG_TENSORRT_WHEELS=FOLDER`` names a folder with wheels of TensorRT's bindings to test against too, as
``pip download --no-deps tensorrt-cu12-bindings==10.3.0`` and ``tensorrt-cu13-bindings`` give them.
"""

from __future__ import annotations

import enum
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeseg.errors import EngineBuildError, MissingExtraError, RuntimeUnavailableError
from edgeseg.runtimes.tensorrt import api as api_module
from edgeseg.runtimes.tensorrt.api import Api, import_api, installed_flavour, installed_version
from edgeseg.runtimes.tensorrt.builder import build_engine
from edgeseg.runtimes.tensorrt.cuda import (
    STICKY_ERRORS,
    Buffer,
    CudaError,
    CudaRuntime,
    device_count,
    open_cuda,
)
from edgeseg.runtimes.tensorrt.memory import MIB
from fake_tensorrt import CLASSES

WHEELS = "EDGESEG_TENSORRT_WHEELS"
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip


def used_names() -> list[str]:
    """``Class.name`` of everything that the fake offers, and so of everything that edgeseg can use."""
    found = []
    for cls in CLASSES:
        own = cls.__members__ if issubclass(cls, enum.Enum) else vars(cls)
        found += [f"{cls.__name__}.{name}" for name in own if not name.startswith("_")]
    return sorted(found)


def test_the_list_of_names_is_no_empty_one() -> None:
    assert {"IExecutionContext.execute_async_v3", "MemoryPoolType.WORKSPACE"} <= set(used_names())
    assert len(used_names()) > 25


# TensorRT-RTX: real parser, real builder, no GPU.


@pytest.fixture
def rtx() -> Api:
    module = pytest.importorskip("tensorrt_rtx", reason="pip install 'edgeseg[tensorrt-rtx]' to run NVIDIA's")
    return Api.of(module, "tensorrt_rtx")


def _lacking(module: Any) -> list[str]:
    pairs = [name.split(".") for name in used_names()]
    return [f"{cls}.{name}" for cls, name in pairs if not hasattr(getattr(module, cls), name)]


def test_rtx_has_every_name(rtx: Api) -> None:
    # What it does not have is what RTX is spared: see Api.has_timing_cache.
    assert not _lacking(rtx.module)
    assert set(rtx.module.TensorIOMode.__members__) >= {"INPUT", "OUTPUT"}
    assert set(rtx.module.DataType.__members__) >= {"UINT8", "FLOAT", "HALF", "INT32", "INT64"}


def test_rtx_is_what_is_found_where_there_is_no_other(rtx: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    real = api_module.importlib.util.find_spec
    monkeypatch.setattr(
        api_module.importlib.util, "find_spec", lambda name: None if name == "tensorrt" else real(name)
    )
    found = import_api()
    assert (found.module, found.flavour, found.version) == (rtx.module, "tensorrt_rtx", rtx.version)
    assert import_api() is found, "TensorRT keeps to the first logger that it is given"


@pytest.mark.parametrize("output", ["mask", "logits", "mask+confidence"])
def test_rtx_builds_the_toy_graph(rtx: Api, make_onnx: Any, output: str) -> None:
    built = build_engine(rtx, "toy.onnx", make_onnx(32, 64, output), [64 * MIB])
    assert len(built.engine) > 10_000
    assert (built.timing_cache, built.workspace) == (b"", 64 * MIB)


def test_an_error_of_the_real_parser_names_its_node(rtx: Api, make_onnx: Any) -> None:
    import onnx

    model = onnx.load_from_string(make_onnx(32, 64))
    node = next(node for node in model.graph.node if node.op_type == "MatMul")
    node.name = "product"
    node.input[1] = "nowhere"
    with pytest.raises(EngineBuildError, match=r"'product' \(MatMul\)|nowhere"):
        build_engine(rtx, "toy.onnx", model.SerializeToString(), [64 * MIB])


# JetPack's and the PC's TensorRT: its bindings, imported over libraries that hold nothing.


def _wheels() -> Iterator[Path]:
    folder = os.environ.get(WHEELS)
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    yield from sorted(Path(folder).glob(f"tensorrt_*_bindings-*{tag}*.whl")) if folder else ()


def test_the_bindings_of_each_version_have_every_name(tmp_path: Path) -> None:
    wheels = list(_wheels())
    compiler = shutil.which("cc")
    if not wheels or compiler is None:
        pytest.skip(f"{WHEELS} names no folder with bindings for this Python, or there is no C compiler")
    source = tmp_path / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    for wheel in wheels:
        major = re.search(r"bindings-(\d+)", wheel.name)
        assert major
        for library in _LIBRARIES:
            name = f"lib{library}.so.{major[1]}"
            command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", tmp_path / name, source]
            subprocess.run(command, check=True)
        place = tmp_path / wheel.stem
        zipfile.ZipFile(wheel).extractall(place)
        (binary,) = place.rglob("tensorrt.so")
        assert _lacking_in_a_process(binary.parent, tmp_path) == [], wheel.name


def _lacking_in_a_process(package: Path, libraries: Path) -> list[str]:
    script = (
        "import sys, tensorrt\n"
        "pairs = [name.split('.') for name in sys.argv[1:]]\n"
        "print(*[f'{c}.{n}' for c, n in pairs if not hasattr(getattr(tensorrt, c), n)])\n"
    )
    environment = {"LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(package), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", script, *used_names(), "TensorIOMode.INPUT", "DataType.UINT8"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# Which TensorRT is used.


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``only(name=version)``: the TensorRT modules that can be imported."""

    def choose(**versions: str) -> None:
        def find_spec(name: str) -> Any:
            return SimpleNamespace(origin="there") if name in versions else None

        def import_module(name: str) -> Any:
            if versions[name] == "broken":
                raise ImportError("libnvinfer.so.10: cannot open shared object file")
            return SimpleNamespace(__version__=versions[name], ILogger=object)

        monkeypatch.setattr(api_module.importlib.util, "find_spec", find_spec)
        monkeypatch.setattr(api_module.importlib, "import_module", import_module)
        api_module._imported.cache_clear()

    yield choose
    api_module._imported.cache_clear()


def test_the_full_tensorrt_goes_before_rtx(only: Any) -> None:
    only(tensorrt="10.3.0", tensorrt_rtx="1.7.1")
    assert (import_api().flavour, import_api().has_timing_cache) == ("tensorrt", True)
    only(tensorrt_rtx="1.7.1")
    assert (import_api().flavour, import_api().has_timing_cache) == ("tensorrt_rtx", False)


@pytest.mark.parametrize("version", ["8.6.1", "broken"])
def test_rtx_takes_the_place_of_one_that_cannot_be_used(only: Any, version: str) -> None:
    only(tensorrt=version, tensorrt_rtx="1.7.1")
    assert import_api().flavour == "tensorrt_rtx"
    assert installed_version() == "1.7.1 (RTX)"


def test_one_that_is_too_old_counts_as_none(only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a bundle goes on to its next runtime, and does not end here."""
    only(tensorrt="8.6.1")
    assert installed_version() is None, "no package tells, so that it is imported"
    monkeypatch.setattr(api_module.metadata, "version", lambda _: "8.6.1")
    assert (installed_flavour(), installed_version()) == (None, None)
    monkeypatch.setattr(api_module.metadata, "version", lambda _: "10.3.0")
    assert (installed_flavour(), installed_version()) == ("tensorrt", "10.3.0")


@pytest.mark.parametrize(
    ("versions", "found"),
    [
        ({}, "not installed"),
        ({"tensorrt": "8.5.2"}, r"version 8\.5\.2"),
        ({"tensorrt": "broken"}, "libnvinfer"),
    ],
    ids=["none", "old", "broken"],
)
def test_a_tensorrt_that_cannot_be_used_says_what_can(
    only: Any, versions: dict[str, str], found: str
) -> None:
    only(**versions)
    with pytest.raises(MissingExtraError, match=f"{found}.*JetPack 6.1"):
        import_api()


# CUDA.


@pytest.fixture
def runtime_api() -> Any:
    return pytest.importorskip("cuda.bindings.runtime", reason="pip install 'edgeseg[tensorrt]' to test it")


def test_without_a_gpu_there_is_a_clear_error(runtime_api: Any) -> None:
    if device_count():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeUnavailableError, match=r"an NVIDIA GPU with its driver, found cudaError"):
        open_cuda()


def test_without_the_bindings_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert device_count() == 0
    with pytest.raises(MissingExtraError, match=r"edgeseg\[tensorrt\]"):
        open_cuda()


def test_every_call_of_the_real_bindings_takes_what_it_is_given(runtime_api: Any) -> None:
    """Without a driver each call fails in CUDA, and not in the conversion of its arguments."""
    if device_count():
        pytest.skip("there is a GPU")
    cuda = CudaRuntime.__new__(CudaRuntime)
    cuda._api = runtime_api
    buffer = Buffer(np.zeros(4, np.uint8), 16, mapped=False)
    calls: list[Any] = [
        cuda._describe, lambda: cuda._attribute("cudaDevAttrIntegrated"),
        cuda.free_memory, lambda: cuda.upload(buffer, 16), lambda: cuda.download(buffer, 16),
        lambda: cuda.free(buffer), cuda.create_stream, lambda: cuda.destroy_stream(16), cuda.create_event,
        lambda: cuda.destroy_event(16), lambda: cuda.finish(16, 16), lambda: cuda.begin_capture(16),
        lambda: cuda.end_capture(16), lambda: cuda.launch(16, 16), lambda: cuda.destroy_graph(16),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(CudaError, match=r"cudaError\w+ \(.+\)"):
            call()
    cuda.clear_error()


def test_sticky_errors_are_names_of_cuda(runtime_api: Any) -> None:
    known = set(runtime_api.cudaError_t.__members__)
    assert known >= STICKY_ERRORS
    assert CudaError("cudaErrorIllegalAddress", "").is_sticky
    assert not CudaError("cudaErrorMemoryAllocation", "").is_sticky


class Recorder:
    """A ``cuda.bindings.runtime`` that notes its calls; ``memory`` stands for the pinned buffer."""

    def __init__(self, *, integrated: bool, fail: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.memory = np.zeros(64, np.uint8)
        self._fail = fail
        self.cudaDeviceAttr = SimpleNamespace(cudaDevAttrIntegrated="integrated")
        self.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="up", cudaMemcpyDeviceToHost="down")

        device = SimpleNamespace(
            name=b"Orin\0\0", major=8, minor=7, multiProcessorCount=8, totalGlobalMem=8 << 30
        )
        self._answers: dict[str, tuple[Any, ...]] = {
            "cudaSetDevice": (), "cudaFree": (), "cudaFreeHost": (), "cudaMemcpyAsync": (),
            "cudaGetDeviceProperties": (device,), "cudaDeviceGetAttribute": (int(integrated),),
            "cudaHostAlloc": (self.memory.ctypes.data,), "cudaHostGetDevicePointer": (0xD0,),
            "cudaMalloc": (0xD1,), "cudaGetErrorName": (b"cudaErrorMemoryAllocation",),
            "cudaGetErrorString": (b"out of memory",), "cudaMemGetInfo": (5, 9),
        }  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if name not in self._answers:
            return name  # a constant
        return lambda *arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        self.calls.append((name, *arguments))
        return (2, None) if name == self._fail else (0, *self._answers[name])


def test_on_a_jetson_memory_is_mapped_and_nothing_is_copied() -> None:
    api = Recorder(integrated=True)
    cuda = CudaRuntime(api)
    assert (cuda.gpu().name, cuda.gpu().integrated, cuda.free_memory()) == ("Orin", True, 5)
    buffer = cuda.allocate(64)
    buffer.host[:] = 7
    assert api.memory.tolist() == [7] * 64
    assert (buffer.device, buffer.mapped) == (0xD0, True)
    assert ("cudaHostAlloc", 64, "cudaHostAllocMapped") in api.calls
    cuda.upload(buffer, 1)
    cuda.download(buffer, 1)
    cuda.free(buffer)
    names = [name for name, *_ in api.calls]
    assert "cudaMemcpyAsync" not in names
    assert "cudaMalloc" not in names
    assert api.calls[-1] == ("cudaFreeHost", api.memory.ctypes.data)


def test_on_a_card_memory_is_copied_through_pinned_buffers() -> None:
    api = Recorder(integrated=False)
    cuda = CudaRuntime(api)
    buffer = cuda.allocate(64)
    assert ("cudaHostAlloc", 64, "cudaHostAllocDefault") in api.calls
    api.calls.clear()
    host = api.memory.ctypes.data
    cuda.upload(buffer, 1)
    cuda.download(buffer, 1)
    cuda.free(buffer)
    assert api.calls == [
        ("cudaMemcpyAsync", 0xD1, host, 64, "up", 1),
        ("cudaMemcpyAsync", host, 0xD1, 64, "down", 1),
        ("cudaFree", 0xD1),
        ("cudaFreeHost", host),
    ]


@pytest.mark.parametrize(("integrated", "fails"), [(True, "cudaHostGetDevicePointer"), (False, "cudaMalloc")])
def test_half_an_allocation_is_given_back(integrated: bool, fails: str) -> None:
    api = Recorder(integrated=integrated, fail=fails)
    cuda = CudaRuntime(api)
    with pytest.raises(CudaError, match=r"cudaErrorMemoryAllocation \(out of memory\)"):
        cuda.allocate(64)
    assert ("cudaFreeHost", api.memory.ctypes.data) in api.calls
