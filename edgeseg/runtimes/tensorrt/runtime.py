"""ONNX files through TensorRT engines: from the cache, or built, tested on the golden frames and kept."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.atomic import check_writable
from edgeseg.bundle import Bundle, ModelFile
from edgeseg.bundle.manifest import GOLDEN_NAME
from edgeseg.cache_folder import cache_folder
from edgeseg.errors import EngineBuildError
from edgeseg.runtimes.base import LoadedModel
from edgeseg.runtimes.base import installed_version as package_version
from edgeseg.runtimes.golden import check_golden
from edgeseg.runtimes.machine import read_machine
from edgeseg.runtimes.onnx_source import refuse_external_data
from edgeseg.runtimes.tensorrt.api import Api, import_api, installed_flavour, installed_version
from edgeseg.runtimes.tensorrt.builder import Built, build_engine
from edgeseg.runtimes.tensorrt.cuda import Cuda, CudaError, Gpu, device_count, open_cuda
from edgeseg.runtimes.tensorrt.engine_cache import CachedEngine, EngineCache, EngineKey
from edgeseg.runtimes.tensorrt.execution import EngineError, Execution, LoadedEngine, load_engine
from edgeseg.runtimes.tensorrt.memory import available_memory, workspaces

FOLDER = "engines"
"""In the cache folder."""

_log = logging.getLogger(__name__)
_FLAGS = "strongly-typed 1"
"""How an engine is built; another number for another way, so that engines of the old one are built again."""
_HOST_THREADS = 1


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to run, and where its engine came from.

    Args:
        model: The loaded model.
        path: The engine's folder; ``None`` where it was not kept, because no golden frame could test it.
        built: Whether it was built now; otherwise it was in the cache.
        seconds: What building, testing and loading took.
    """

    model: TensorRTModel
    path: Path | None
    built: bool
    seconds: float


class TensorRT:
    """Loads ``.onnx`` files as engines; builds those that are not in the cache, which takes minutes.

    Args:
        folder: Where engines are kept; by default ``engines`` in the cache folder.
        root: The file system that tells what machine this is.
        api, cuda: How TensorRT and CUDA are opened.
    """

    name = "tensorrt"
    formats: tuple[str, ...] = ("onnx",)
    package = "tensorrt"
    builds_on_gpu = True

    def __init__(
        self,
        folder: Path | None = None,
        root: Path = Path("/"),
        api: Callable[[], Api] = import_api,
        cuda: Callable[[], Cuda] = open_cuda,
    ) -> None:
        self._folder, self._root, self._api, self._cuda = folder, root, api, cuda

    def keeping_in(self, folder: Path) -> TensorRT:
        """The same runtime with its engines in another folder."""
        return TensorRT(folder, self._root, self._api, self._cuda)

    @property
    def remedy(self) -> str:
        machine = read_machine(self._root)
        if installed_flavour() is None:
            return machine.tensorrt_remedy
        if package_version("cuda-bindings") is None:
            return "pip install 'edgeseg[tensorrt]'"
        return machine.driver_remedy

    def version(self) -> str | None:
        """``None`` too where there is no GPU: an installed TensorRT can build there, but run nothing."""
        version = installed_version()
        return version if version is not None and device_count() > 0 else None

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> TensorRTModel:  # noqa: ARG002
        # The GPU does the work: of the host's threads one waits for it, whatever was allowed.
        return self.prepare(bundle, model).model

    def prepare(self, bundle: Bundle, model: ModelFile, *, rebuild: bool = False) -> Prepared:
        """The model with its engine; built, tested and kept where the cache has none that fits.

        Args:
            bundle: A checked bundle.
            model: One of its ONNX files.
            rebuild: Whether to build even where there is one.

        Raises:
            MissingExtraError: TensorRT or ``cuda-bindings`` is not installed.
            RuntimeUnavailableError: There is no GPU.
            UnsafeModelError: The file refers to data outside itself.
            EngineBuildError: No engine could be built, or memory is too short.
            GoldenMismatchError: The new engine gives other masks than were exported; it is not kept.
            OutputError: The cache cannot be written.
        """
        source, data = str(bundle.path / model.file), bundle.model_bytes(model)
        refuse_external_data(source, data)
        started = time.monotonic()
        api, cuda = self._api(), self._cuda()
        key = self._key(api, cuda.gpu(), data)
        cache = EngineCache(self._folder or cache_folder() / FOLDER)
        work = _Work(source, bundle, model, api, cuda, key, cache, self._root)
        try:
            loaded = None if rebuild else work.from_cache()
            made, kept = (loaded, True) if loaded is not None else work.build()
        except (EngineError, CudaError) as error:
            raise _not_started(source, error) from error
        path = cache.path(key) if kept else None
        return Prepared(made, path, loaded is None, time.monotonic() - started)

    def _key(self, api: Api, gpu: Gpu, onnx: bytes) -> EngineKey:
        major, minor = gpu.capability
        return EngineKey(
            onnx_sha256=hashlib.sha256(onnx).hexdigest(),
            tensorrt=f"{api.flavour} {api.version}",
            gpu=f"{gpu.name}, compute capability {major}.{minor}, {gpu.multiprocessors} multiprocessors",
            l4t=read_machine(self._root).l4t,
            flags=_FLAGS,
        )


class TensorRTModel(LoadedModel):
    """An engine that is ready to run; made by :meth:`TensorRT.load`."""

    name = "tensorrt"
    failures = (EngineError,)

    def __init__(self, source: str, bundle: Bundle, loaded: LoadedEngine, cuda: Cuda) -> None:
        super().__init__(source, bundle.manifest, loaded.inputs, loaded.outputs, _HOST_THREADS)
        self._execution = Execution(source, loaded, cuda)

    @property
    def uses_graph(self) -> bool:
        """Whether a frame is one launch of a CUDA graph."""
        return self._execution.uses_graph

    def run(self, batch: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        arrays = self._execution.run(batch)
        return [arrays[index] for index in self.order]

    def close(self) -> None:
        super().close()
        self._execution.close()


@dataclass(frozen=True)
class _Work:
    """Getting one model's engine."""

    source: str
    bundle: Bundle
    model: ModelFile
    api: Api
    cuda: Cuda
    key: EngineKey
    cache: EngineCache
    root: Path

    def from_cache(self) -> TensorRTModel | None:
        """The model with the cached engine, or ``None`` where it has to be built; the log says why."""
        cached = self.cache.read(self.key)
        if cached.data is not None:
            try:
                return self._open(cached.data)
            except EngineError as error:
                cached = CachedEngine(None, f"the cached engine does not load ({error})")
        _log.warning("%s: %s; building it now, which can take minutes", self.source, cached.reason)
        return None

    def build(self) -> tuple[TensorRTModel, bool]:
        """A new engine, loaded and tested, and whether it was kept."""
        testable = GOLDEN_NAME in self.bundle.members
        if testable:
            check_writable(self.cache.folder)
        started = time.monotonic()
        built = self._build_engine()
        seconds = time.monotonic() - started
        _log.warning("%s: built in %.1f s", self.source, seconds)
        with (
            self.cache.staged(self.key, built.engine, self._about(built, seconds))
            if testable
            else nullcontext()
        ):
            model = self._open(built.engine)
            if testable:
                self._test(model)
        if testable:
            self.cache.keep_timings(self.key, built.timing_cache)
        return model, testable

    def _build_engine(self) -> Built:
        gpu, onnx = self.cuda.gpu(), self.bundle.model_bytes(self.model)
        available = available_memory(gpu, self.cuda.free_memory(), self.root)
        sizes = workspaces(gpu, available, len(onnx), self.source)
        return build_engine(self.api, self.source, onnx, sizes, self.cache.timings(self.key))

    def _open(self, engine: bytes) -> TensorRTModel:
        return TensorRTModel(self.source, self.bundle, load_engine(self.api, engine), self.cuda)

    def _test(self, model: TensorRTModel) -> None:
        ran_with = f"{self.api.flavour} {self.api.version} on {self.cuda.gpu().name}"
        try:
            check_golden(self.bundle, self.model, lambda frame: model.infer(frame).mask, ran_with)
        except BaseException:
            model.close()
            raise

    def _about(self, built: Built, seconds: float) -> dict[str, object]:
        return {
            "bundle": self.bundle.manifest.name,
            "model": self.model.file,
            "workspace_bytes": built.workspace,
            "build_seconds": round(seconds, 1),
        }


def _not_started(source: str, error: Exception) -> EngineBuildError:
    return EngineBuildError(
        source,
        expected="the engine to start",
        found=str(error),
        next_step="Free some memory and try again; if CUDA's context is lost, restart the process.",
    )
