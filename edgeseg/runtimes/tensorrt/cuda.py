"""CUDA as the TensorRT runtime needs it: one device, buffers, one stream, events and graphs.

Where CPU and GPU share their memory (Jetson), a buffer is mapped host memory and nothing is copied; on a
card of its own it is device memory with a pinned twin on the host. Managed memory is not used.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseg.errors import MissingExtraError, RuntimeUnavailableError

STICKY_ERRORS = frozenset({
    "cudaErrorIllegalAddress", "cudaErrorLaunchTimeout", "cudaErrorAssert", "cudaErrorHardwareStackError",
    "cudaErrorIllegalInstruction", "cudaErrorMisalignedAddress", "cudaErrorInvalidAddressSpace",
    "cudaErrorInvalidPc", "cudaErrorLaunchFailure", "cudaErrorTensorMemoryLeak", "cudaErrorECCUncorrectable",
    "cudaErrorContextIsDestroyed", "cudaErrorMpsClientTerminated", "cudaErrorExternalDevice",
    "cudaErrorNvlinkUncorrectable", "cudaErrorDeviceUninitialized", "cudaErrorCudartUnloading",
})  # fmt: skip
"""After these the CUDA runtime's documentation calls the process inconsistent: every later call fails."""

_DEVICE = 0  # CUDA_VISIBLE_DEVICES says which one that is


class CudaError(RuntimeError):
    """A CUDA call that failed.

    Args:
        name: The error's name, for instance ``cudaErrorIllegalAddress``.
        text: What CUDA says of it.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name} ({text})")
        self.name = name

    @property
    def is_sticky(self) -> bool:
        """Whether nothing but a new process helps."""
        return self.name in STICKY_ERRORS


@dataclass(frozen=True)
class Gpu:
    """The device: ``capability`` is its compute capability, ``memory`` its bytes in all.

    ``integrated`` is whether it shares its memory with the CPU.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    memory: int
    integrated: bool


@dataclass(frozen=True)
class Buffer:
    """Bytes that both sides know: ``host`` is the CPU's view ``uint8 [size]``, ``device`` its GPU address."""

    host: npt.NDArray[np.uint8]
    device: int
    mapped: bool


class Cuda(Protocol):
    """What the runtime asks of CUDA. Streams, events and graphs are handles; all methods raise CudaError."""

    def gpu(self) -> Gpu: ...

    def free_memory(self) -> int:
        """Bytes that the device has free."""

    def allocate(self, size: int) -> Buffer: ...

    def free(self, buffer: Buffer) -> None: ...

    def upload(self, buffer: Buffer, stream: int) -> None:
        """Let the device see what the host wrote; nothing where both see the same memory."""

    def download(self, buffer: Buffer, stream: int) -> None:
        """The other way round."""

    def create_stream(self) -> int: ...

    def destroy_stream(self, stream: int) -> None: ...

    def create_event(self) -> int: ...

    def destroy_event(self, event: int) -> None: ...

    def finish(self, event: int, stream: int) -> None:
        """Wait, asleep and not spinning, until the stream has done all it was given."""

    def begin_capture(self, stream: int) -> None: ...

    def end_capture(self, stream: int) -> int:
        """The graph of what was given to the stream since, ready to be launched."""

    def launch(self, graph: int, stream: int) -> None: ...

    def destroy_graph(self, graph: int) -> None: ...

    def clear_error(self) -> None:
        """Forget the last error, where it can be forgotten."""


def device_count() -> int:
    """GPUs that CUDA can use here; 0 too where there is no driver or ``cuda-bindings`` is not installed."""
    try:
        from cuda.bindings import runtime
    except (ImportError, OSError):
        return 0
    error, count = runtime.cudaGetDeviceCount()
    return int(count) if int(error) == 0 else 0


def open_cuda() -> Cuda:
    """CUDA through ``cuda-bindings``.

    Raises:
        MissingExtraError: ``cuda-bindings`` is not installed.
        RuntimeUnavailableError: There is no GPU, or no driver that it works with.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, OSError) as error:
        raise MissingExtraError.of("runtime 'tensorrt'", "cuda-bindings", "tensorrt") from error
    try:
        return CudaRuntime(runtime)
    except CudaError as error:
        raise RuntimeUnavailableError(
            "runtime 'tensorrt'",
            expected="an NVIDIA GPU with its driver",
            found=str(error),
            next_step="Run 'edgeseg info' to see what is missing, or choose another --runtime.",
        ) from error


class CudaRuntime:
    """:class:`Cuda` on the runtime API of ``cuda-bindings`` 12.9 and 13."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self._call(api.cudaSetDevice, _DEVICE)
        self._gpu = self._describe()

    def gpu(self) -> Gpu:
        return self._gpu

    def free_memory(self) -> int:
        free, _ = self._call(self._api.cudaMemGetInfo)
        return int(free)

    def allocate(self, size: int) -> Buffer:
        api = self._api
        flag = api.cudaHostAllocMapped if self._gpu.integrated else api.cudaHostAllocDefault
        pinned = int(self._call(api.cudaHostAlloc, size, flag))
        try:
            if self._gpu.integrated:
                device = int(self._call(api.cudaHostGetDevicePointer, pinned, 0))
            else:
                device = int(self._call(api.cudaMalloc, size))
        except CudaError:
            self._call(api.cudaFreeHost, pinned)
            raise
        host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pinned))
        return Buffer(host, device, mapped=self._gpu.integrated)

    def free(self, buffer: Buffer) -> None:
        if not buffer.mapped:
            self._call(self._api.cudaFree, buffer.device)
        self._call(self._api.cudaFreeHost, buffer.host.ctypes.data)

    def upload(self, buffer: Buffer, stream: int) -> None:
        if not buffer.mapped:
            kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
            self._copy(buffer.device, buffer.host.ctypes.data, buffer.host.nbytes, kind, stream)

    def download(self, buffer: Buffer, stream: int) -> None:
        if not buffer.mapped:
            kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._copy(buffer.host.ctypes.data, buffer.device, buffer.host.nbytes, kind, stream)

    def create_stream(self) -> int:
        return int(self._call(self._api.cudaStreamCreateWithFlags, self._api.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        self._call(self._api.cudaStreamDestroy, stream)

    def create_event(self) -> int:
        flags = self._api.cudaEventBlockingSync | self._api.cudaEventDisableTiming
        return int(self._call(self._api.cudaEventCreateWithFlags, flags))

    def destroy_event(self, event: int) -> None:
        self._call(self._api.cudaEventDestroy, event)

    def finish(self, event: int, stream: int) -> None:
        self._call(self._api.cudaEventRecord, event, stream)
        self._call(self._api.cudaEventSynchronize, event)

    def begin_capture(self, stream: int) -> None:
        # Of this thread alone: another may allocate meanwhile.
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._api.cudaStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> int:
        graph = self._call(self._api.cudaStreamEndCapture, stream)
        try:
            return int(self._call(self._api.cudaGraphInstantiate, graph, 0))
        finally:
            self._call(self._api.cudaGraphDestroy, graph)

    def launch(self, graph: int, stream: int) -> None:
        self._call(self._api.cudaGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._call(self._api.cudaGraphExecDestroy, graph)

    def clear_error(self) -> None:
        # Its answer is the error that is being forgotten.
        self._api.cudaGetLastError()

    def _describe(self) -> Gpu:
        found = self._call(self._api.cudaGetDeviceProperties, _DEVICE)
        name = found.name.decode(errors="replace") if isinstance(found.name, bytes) else str(found.name)
        return Gpu(
            name.strip("\0 "),
            (int(found.major), int(found.minor)),
            int(found.multiProcessorCount),
            int(found.totalGlobalMem),
            bool(self._attribute("cudaDevAttrIntegrated")),
        )

    def _attribute(self, name: str) -> int:
        attribute = getattr(self._api.cudaDeviceAttr, name)
        return int(self._call(self._api.cudaDeviceGetAttribute, attribute, _DEVICE))

    def _copy(self, to: int, source: int, size: int, kind: Any, stream: int) -> None:
        self._call(self._api.cudaMemcpyAsync, to, source, size, kind, stream)

    def _call(self, function: Any, *arguments: Any) -> Any:
        """What the function gives beside its error: nothing, one value, or several."""
        error, *values = function(*arguments)
        if int(error) != 0:
            raise CudaError(
                self._text(self._api.cudaGetErrorName, error), self._text(self._api.cudaGetErrorString, error)
            )
        return values[0] if len(values) == 1 else tuple(values)

    @staticmethod
    def _text(function: Any, error: Any) -> str:
        _, text = function(error)
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
