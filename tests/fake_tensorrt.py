"""A TensorRT and a CUDA without a GPU: its engines are ONNX files, run when a stream is waited for.

The public names of the fake's classes are all that edgeseg uses of TensorRT: using another fails here, and
``test_tensorrt_api.py`` holds each of them against the real ones.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from edgeseg.bundle import Bundle
from edgeseg.runtimes.tensorrt import TensorRT
from edgeseg.runtimes.tensorrt.api import Api
from edgeseg.runtimes.tensorrt.cuda import Buffer, CudaError, Gpu

ORIN_NANO = Gpu("Orin (nvgpu)", (8, 7), 8, 7_990_000_000, integrated=True)
RTX_CARD = Gpu("NVIDIA GeForce RTX 4090", (8, 9), 128, 25_250_000_000, integrated=False)
OUT_OF_MEMORY = "Error Code 2: OutOfMemory (Requested size was 1073741824 bytes.)"
_ERROR, _INFO = 1, 3
_TYPES = {onnx.TensorProto.UINT8: "UINT8", onnx.TensorProto.FLOAT: "FLOAT"}


class FakeCuda:
    """Work given to a stream is done when it is waited for, and what is captured only when it is launched.

    Attributes:
        calls: Names of the methods called, in order.
        failures: What to raise, by the name of the method; ``fail_after`` says after how many calls of it.
        held: Handles and addresses that have not been freed.
    """

    def __init__(self, gpu: Gpu = ORIN_NANO, free: int = 6 << 30) -> None:
        self._gpu, self._free = gpu, free
        self.calls: list[str] = []
        self.failures: dict[str, CudaError] = {}
        self.fail_after: dict[str, int] = {}
        self.held: dict[int, str] = {}
        self.memory: dict[int, np.ndarray] = {}
        self._next = 0x1000
        self._pending: list[Callable[[], None]] = []
        self._captured: list[Callable[[], None]] | None = None
        self._graphs: dict[int, list[Callable[[], None]]] = {}

    def gpu(self) -> Gpu:
        return self._gpu

    def free_memory(self) -> int:
        self._called("free_memory")
        return self._free

    def allocate(self, size: int) -> Buffer:
        self._called("allocate")
        host = np.full(size, 0xAA, np.uint8)
        address = self._handle("buffer")
        self.memory[address] = host if self._gpu.integrated else np.full(size, 0x55, np.uint8)
        return Buffer(host, address, self._gpu.integrated)

    def free(self, buffer: Buffer) -> None:
        self._called("free")
        del self.held[buffer.device], self.memory[buffer.device]

    def upload(self, buffer: Buffer, stream: int) -> None:
        self._called("upload")
        if not buffer.mapped:
            self.submit(lambda: self._copy(self.memory[buffer.device], buffer.host))

    def download(self, buffer: Buffer, stream: int) -> None:
        self._called("download")
        if not buffer.mapped:
            self.submit(lambda: self._copy(buffer.host, self.memory[buffer.device]))

    def create_stream(self) -> int:
        self._called("create_stream")
        return self._handle("stream")

    def destroy_stream(self, stream: int) -> None:
        self._called("destroy_stream")
        del self.held[stream]

    def create_event(self) -> int:
        self._called("create_event")
        return self._handle("event")

    def destroy_event(self, event: int) -> None:
        self._called("destroy_event")
        del self.held[event]

    def finish(self, event: int, stream: int) -> None:
        self._called("finish")
        assert self._captured is None, "a stream that is being captured cannot be waited for"
        assert (self.held[event], self.held[stream]) == ("event", "stream")
        pending, self._pending = self._pending, []
        for work in pending:
            work()

    def begin_capture(self, stream: int) -> None:
        self._called("begin_capture")
        self._captured = []

    def end_capture(self, stream: int) -> int:
        captured, self._captured = self._captured, None
        self._called("end_capture")
        assert captured is not None
        graph = self._handle("graph")
        self._graphs[graph] = captured
        return graph

    def launch(self, graph: int, stream: int) -> None:
        self._called("launch")
        self._pending += self._graphs[graph]

    def destroy_graph(self, graph: int) -> None:
        self._called("destroy_graph")
        del self.held[graph]

    def clear_error(self) -> None:
        self._called("clear_error")

    def submit(self, work: Callable[[], None]) -> None:
        (self._pending if self._captured is None else self._captured).append(work)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failures and self.calls.count(name) > self.fail_after.get(name, 0):
            raise self.failures[name]

    def _handle(self, kind: str) -> int:
        self._next += 0x100
        self.held[self._next] = kind
        return self._next

    @staticmethod
    def _copy(to: np.ndarray, source: np.ndarray) -> None:
        to[:] = source


class ILogger:
    def log(self, severity: int, text: str) -> None:
        raise NotImplementedError


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class INetworkDefinition:
    data: bytes


class ParserError:
    def __init__(self, text: str, name: str = "", op: str = "", index: int = -1) -> None:
        self._parts = (text, name, op, index)

    def desc(self) -> str:
        return self._parts[0]

    def node_name(self) -> str:
        return self._parts[1]

    def node_operator(self) -> str:
        return self._parts[2]

    def node(self) -> int:
        return self._parts[3]


class ITimingCache:
    def __init__(self, contents: bytes) -> None:
        self._contents = contents

    def serialize(self) -> bytes:
        return self._contents + b"+timed"


class IBuilderConfig:
    def __init__(self, fake: FakeTensorRT) -> None:
        self._fake = fake
        self._cache: ITimingCache | None = None
        self._workspace = 0

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        assert pool is MemoryPoolType.WORKSPACE
        self._workspace = size

    def create_timing_cache(self, contents: bytes) -> ITimingCache:
        self._fake.timing_caches.append(contents)
        return ITimingCache(contents)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache._contents in self._fake.refused_timings:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


class Builder:
    def __init__(self, logger: ILogger) -> None:
        self._logger, self._fake = logger, FakeTensorRT.current

    def create_network(self, flags: int) -> INetworkDefinition:
        self._fake.network_flags = flags
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._fake)

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        fake = self._fake
        fake.workspaces.append(config._workspace)
        if config._workspace > fake.memory_for_build:
            self._logger.log(_ERROR, OUT_OF_MEMORY)
            return None
        if fake.build_error:
            self._logger.log(_ERROR, fake.build_error)
            return None
        self._logger.log(_INFO, "built")
        return fake.mark + network.data


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._fake = network, FakeTensorRT.current

    def parse(self, data: bytes) -> bool:
        self._network.data = data
        return not self._fake.parser_errors

    @property
    def num_errors(self) -> int:
        return len(self._fake.parser_errors)

    def get_error(self, index: int) -> ParserError:
        return self._fake.parser_errors[index]


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger, self._fake = logger, FakeTensorRT.current

    def deserialize_cuda_engine(self, data: bytes) -> ICudaEngine | None:
        if not data.startswith(self._fake.mark):
            self._logger.log(_ERROR, "Error Code 1: Serialization (version tag does not match)")
            return None
        return ICudaEngine(self._fake, self._logger, data[len(self._fake.mark) :])


class ICudaEngine:
    def __init__(self, fake: FakeTensorRT, logger: ILogger, data: bytes) -> None:
        self._fake, self._logger = fake, logger
        self._graph = onnx.load_from_string(data).graph
        self._session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        self._ports = {port.name: port for port in [*self._graph.input, *self._graph.output]}

    @property
    def num_io_tensors(self) -> int:
        return len(self._ports)

    def get_tensor_name(self, index: int) -> str:
        return list(self._ports)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return SimpleNamespace(name="INPUT" if name == self._graph.input[0].name else "OUTPUT")

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=_TYPES[self._ports[name].type.tensor_type.elem_type])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(d.dim_value for d in self._ports[name].type.tensor_type.shape.dim)

    def create_execution_context(self) -> IExecutionContext | None:
        if self._fake.context_error:
            self._logger.log(_ERROR, self._fake.context_error)
            return None
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine._ports

    def execute_async_v3(self, stream: int) -> bool:
        fake = self._engine._fake
        assert fake.cuda.held[stream] == "stream"
        assert set(self._addresses) == set(self._engine._ports)
        fake.cuda.calls.append("execute")
        if fake.execute_error and fake.cuda.calls.count("execute") > fake.execute_error_after:
            self._engine._logger.log(_ERROR, fake.execute_error)
            return False
        fake.cuda.submit(self._run)
        return True

    def _run(self) -> None:
        engine, memory = self._engine, self._engine._fake.cuda.memory
        name = engine._graph.input[0].name
        image = memory[self._addresses[name]].reshape(engine.get_tensor_shape(name))
        names = [port.name for port in engine._graph.output]
        for output, array in zip(names, engine._session.run(names, {name: image}), strict=True):
            if engine._fake.wrong_masks:
                array = (array + 1) % 3
            memory[self._addresses[output]][:] = np.frombuffer(array.tobytes(), np.uint8)


CLASSES = (
    ILogger, NetworkDefinitionCreationFlag, MemoryPoolType, INetworkDefinition, ParserError, ITimingCache,
    IBuilderConfig, Builder, OnnxParser, Runtime, ICudaEngine, IExecutionContext,
)  # fmt: skip


class FakeTensorRT:
    """A ``tensorrt`` module and how it behaves; ``api`` is what the runtime is given.

    Attributes:
        mark: Begins its engines; engines of another mark do not load.
        memory_for_build: A workspace beyond it is out of memory.
        workspaces: Those of the builds that were tried.
    """

    current: FakeTensorRT

    def __init__(self, cuda: FakeCuda, *, flavour: str = "tensorrt", version: str = "10.3.0") -> None:
        self.cuda = cuda
        self.mark = b"ENGINE"
        self.memory_for_build = 64 << 30
        self.workspaces: list[int] = []
        self.timing_caches: list[bytes] = []
        self.refused_timings: list[bytes] = []
        self.parser_errors: list[ParserError] = []
        self.build_error = self.context_error = self.execute_error = ""
        self.execute_error_after = 0
        self.wrong_masks = False
        self.network_flags: int | None = None
        self.module = SimpleNamespace(__version__=version, **{c.__name__: c for c in CLASSES})
        self.api = Api.of(self.module, flavour)
        FakeTensorRT.current = self


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
