"""An ONNX file to a TensorRT engine, by the network's own types: no precision is chosen here."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeseg.errors import EngineBuildError
from edgeseg.runtimes.tensorrt.api import Api, Messages
from edgeseg.runtimes.tensorrt.graph_check import refuse_known_bad
from edgeseg.runtimes.tensorrt.memory import MIB, memory_short

_log = logging.getLogger(__name__)
_OUT_OF_MEMORY = re.compile(r"out ?of ?memory|MemoryAllocation|insufficient memory|bad_alloc", re.IGNORECASE)
_SHOWN_ERRORS = 5


@dataclass(frozen=True)
class Built:
    """A serialised engine, the timings of its kernels for later builds, and the workspace that sufficed."""

    engine: bytes
    timing_cache: bytes
    workspace: int


def build_engine(
    api: Api, source: str, onnx: bytes, workspaces: Sequence[int], timing_cache: bytes = b""
) -> Built:
    """Build an engine for the GPU that is here.

    Args:
        api: TensorRT.
        source: The model file, for messages.
        onnx: Its bytes; fp16 and int8 are written into the graph.
        workspaces: Bytes that the builder may use, to be tried in this order while memory is short.
        timing_cache: That of an earlier build on this device; empty where there is none.

    Raises:
        EngineBuildError: The graph is known to be bad, the parser refuses it, or the builder fails.
    """
    refuse_known_bad(source, onnx)
    messages = api.messages
    messages.errors()  # those of earlier work are not of this
    builder = api.module.Builder(messages.logger)
    network = builder.create_network(_network_flags(api.module))
    parser = _parse(api, source, onnx, network, messages)
    said = ""
    for workspace in workspaces:
        config = _config(api, builder, workspace, timing_cache)
        engine, said = _attempt(builder, network, config, messages)
        if engine is not None:
            return Built(engine, _timings(api, config), workspace)
        if not _OUT_OF_MEMORY.search(said):
            raise _not_built(source, said)
        _log.warning("%s: out of memory with a workspace of %d MiB: %s", source, workspace // MIB, said)
    del parser  # held so far, for the network uses its weights
    raise memory_short(source, workspaces[0], f"out of memory down to {workspaces[-1] // MIB} MiB ({said})")


def _network_flags(module: Any) -> int:
    """Strongly typed, in the words of versions before it was the only kind of network."""
    flag = getattr(module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(api: Api, source: str, onnx: bytes, network: Any, messages: Messages) -> Any:
    parser = api.module.OnnxParser(network, messages.logger)
    if parser.parse(onnx):
        return parser
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    described = [_describe(error) for error in errors[:_SHOWN_ERRORS]]
    if len(errors) > _SHOWN_ERRORS:
        described.append(f"and {len(errors) - _SHOWN_ERRORS} more")
    raise EngineBuildError(
        source,
        expected=f"a graph that the parser of {api.flavour} {api.version} takes",
        found="; ".join(described) or messages.errors() or "no reason given",
        next_step="Change that part of the model, or run the bundle with --runtime onnx.",
    )


def _describe(error: Any) -> str:
    node, op = error.node_name(), error.node_operator()
    where = f"node {node!r} ({op})" if node else f"node {error.node()} ({op})" if op else "the file"
    text = " ".join(str(error.desc()).split())
    return f"{where}: {text}"


def _config(api: Api, builder: Any, workspace: int, timing_cache: bytes) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.module.MemoryPoolType.WORKSPACE, workspace)
    if api.has_timing_cache:
        for contents in (timing_cache, b""):
            cache = config.create_timing_cache(contents)
            # TensorRT checks that it is of this version and device; what it refuses is begun anew.
            if cache is not None and config.set_timing_cache(cache, False):
                break
    return config


def _attempt(builder: Any, network: Any, config: Any, messages: Messages) -> tuple[bytes | None, str]:
    """The engine, or what TensorRT said instead."""
    try:
        engine = builder.build_serialized_network(network, config)
    except MemoryError as error:
        return None, f"out of memory: {error}"
    said = messages.errors()
    return (None, said) if engine is None else (bytes(engine), said)


def _timings(api: Api, config: Any) -> bytes:
    cache = config.get_timing_cache() if api.has_timing_cache else None
    return b"" if cache is None else bytes(cache.serialize())


def _not_built(source: str, said: str) -> EngineBuildError:
    return EngineBuildError(
        source,
        expected="an engine of the parsed graph",
        found=said or "no engine, and no reason given",
        next_step="Run the bundle with --runtime onnx, and report this with the model.",
    )
