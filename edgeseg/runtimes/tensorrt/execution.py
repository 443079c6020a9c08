"""One engine at work: its context, its buffers and the stream they meet on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InferenceError
from edgeseg.runtimes.base import Port
from edgeseg.runtimes.tensorrt.api import Api, Messages
from edgeseg.runtimes.tensorrt.cuda import Buffer, Cuda, CudaError

WARM_UP_RUNS = 3

_log = logging.getLogger(__name__)
# By the names of TensorRT's DataType; what is not here stays as TensorRT calls it and fits no manifest.
_DTYPES = {"UINT8": "uint8", "FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64"}


class EngineError(RuntimeError):
    """TensorRT could not load or run an engine; the message is TensorRT's own."""


@dataclass(frozen=True)
class LoadedEngine:
    """A deserialised engine with what it says of its inputs and outputs.

    ``runtime`` is kept because the engine needs it for as long as it lives.
    """

    engine: Any
    runtime: Any
    messages: Messages
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def load_engine(api: Api, data: bytes) -> LoadedEngine:
    """Deserialise an engine.

    Raises:
        EngineError: It is of another TensorRT or GPU, or damaged.
    """
    messages = api.messages
    messages.errors()  # those of earlier work are not of this
    runtime = api.module.Runtime(messages.logger)
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineError(messages.errors() or "TensorRT does not load the engine")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    ports: dict[str, list[Port]] = {"INPUT": [], "OUTPUT": []}
    for name in names:
        ports[engine.get_tensor_mode(name).name].append(_port(engine, name))
    return LoadedEngine(engine, runtime, messages, tuple(ports["INPUT"]), tuple(ports["OUTPUT"]))


class Execution:
    """Everything that running an engine takes; all of it is freed by :meth:`close`, or when this fails.

    After a few runs to warm up, the whole of one frame (copies too) is captured as a CUDA graph; where that
    cannot be done, frames are given to the stream call by call, and the log says so once.

    Args:
        source: The model file, for messages.
        loaded: The engine. It has one input.
        cuda: The device it runs on.

    Raises:
        EngineError, CudaError: There is no memory for it, or the runs to warm up failed.
    """

    def __init__(self, source: str, loaded: LoadedEngine, cuda: Cuda) -> None:
        self._source, self._cuda, self._messages = source, cuda, loaded.messages
        self._engine: Any = loaded
        self._context: Any = None
        self._ports = loaded.outputs
        self._to_free: list[Callable[[], None]] = []
        self._graph: int | None = None
        self._lost: CudaError | None = None
        try:
            self._prepare(loaded)
        except BaseException:
            self.close()
            raise

    @property
    def uses_graph(self) -> bool:
        return self._graph is not None

    def run(self, batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """The outputs of one frame ``[1, H, W, 3]``, in the engine's order; they belong to the caller.

        Raises:
            InferenceError: CUDA failed; where it cannot recover, the message says that the process must be
                restarted, and so does every later call.
            EngineError: TensorRT failed.
        """
        if self._lost is not None:
            raise _cuda_failed(self._source, self._lost)
        try:
            self._input.host[:] = batch.reshape(-1)
            self._run_once()
            return [_copy(buffer, port) for buffer, port in zip(self._outputs, self._ports, strict=True)]
        except CudaError as error:
            if error.is_sticky:
                self._lost = error
            raise _cuda_failed(self._source, error) from error

    def close(self) -> None:
        """Free all of it; calling twice is harmless, and so is a device that is lost."""
        graph, self._graph = self._graph, None
        if graph is not None:
            self._free(lambda: self._cuda.destroy_graph(graph))
        # Before the buffers, which they may still use; the engine goes after its context.
        self._context = None
        self._engine = None
        while self._to_free:
            self._free(self._to_free.pop())

    def _prepare(self, loaded: LoadedEngine) -> None:
        cuda = self._cuda
        self._context = loaded.engine.create_execution_context()
        if self._context is None:
            raise EngineError(self._messages.errors() or "no memory for the engine's context")
        self._input = self._allocate(loaded.inputs[0])
        self._outputs = [self._allocate(port) for port in loaded.outputs]
        self._stream = cuda.create_stream()
        self._to_free.append(lambda: cuda.destroy_stream(self._stream))
        self._event = cuda.create_event()
        self._to_free.append(lambda: cuda.destroy_event(self._event))
        for _ in range(WARM_UP_RUNS):
            self._run_once()
        self._capture()

    def _allocate(self, port: Port) -> Buffer:
        buffer = self._cuda.allocate(int(np.prod(port.shape)) * np.dtype(port.dtype).itemsize)
        self._to_free.append(lambda: self._cuda.free(buffer))
        buffer.host[:] = 0
        if not self._context.set_tensor_address(port.name, buffer.device):
            raise EngineError(self._messages.errors() or f"TensorRT takes no address for {port.name!r}")
        return buffer

    def _run_once(self) -> None:
        if self._graph is None:
            self._enqueue()
        else:
            self._cuda.launch(self._graph, self._stream)
        self._cuda.finish(self._event, self._stream)

    def _enqueue(self) -> None:
        self._cuda.upload(self._input, self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise EngineError(self._messages.errors() or "TensorRT did not take the frame")
        for buffer in self._outputs:
            self._cuda.download(buffer, self._stream)

    def _capture(self) -> None:
        """Keep one frame's work as a graph, or go on without; the engine must run after either."""
        cuda = self._cuda
        try:
            graph = self._captured()
        except (CudaError, EngineError) as error:
            if isinstance(error, CudaError) and error.is_sticky:
                raise
            cuda.clear_error()
            _log.warning("%s runs without a CUDA graph: %s", self._source, error)
        else:
            self._graph = graph
        self._run_once()

    def _free(self, release: Callable[[], None]) -> None:
        try:
            release()
        except CudaError as error:
            _log.debug("%s: not freed: %s", self._source, error)

    def _captured(self) -> int:
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue()
        except BaseException:
            # The stream is unusable until the capture has ended, and a broken one ends with an error.
            with suppress(CudaError):
                self._cuda.destroy_graph(self._cuda.end_capture(self._stream))
            raise
        return self._cuda.end_capture(self._stream)


def _port(engine: Any, name: str) -> Port:
    dtype = str(engine.get_tensor_dtype(name).name)
    return Port(name, _DTYPES.get(dtype, dtype), tuple(int(size) for size in engine.get_tensor_shape(name)))


def _copy(buffer: Buffer, port: Port) -> npt.NDArray[Any]:
    return buffer.host.view(port.dtype).reshape(port.shape).copy()


def _cuda_failed(source: str, error: CudaError) -> InferenceError:
    return InferenceError(
        source,
        expected="a mask of the frame",
        found=f"the CUDA error {error}",
        next_step="The GPU's context is lost: restart the process, no call on it can succeed any more."
        if error.is_sticky
        else "Run 'edgeseg verify' on the bundle; if it passes, report this with the frame.",
    )
