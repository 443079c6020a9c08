"""Engines on disk: one folder each, beside the timings of the device; outside of every bundle.

An engine fits one ONNX file, one TensorRT, one kind of GPU and one L4T: these are its key. Its folder holds
``model.engine`` and ``engine.json`` with the key, sizes and hashes; what does not match is built again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseg.atomic import atomic_file, atomic_folder
from edgeseg.bundle.members import read_file
from edgeseg.errors import BundleError, OutputError

ENGINE_NAME = "model.engine"
SIDECAR_NAME = "engine.json"
MAX_ENGINE_BYTES = 2 << 30
MAX_SIDECAR_BYTES = 1 << 20
MAX_TIMINGS_BYTES = 256 << 20

_FORMAT = 1
_DIGEST_BYTES = 32
_OWNER_ONLY = 0o700  # an engine is code: nobody else may put one here


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on.

    Args:
        onnx_sha256: Of the model file.
        tensorrt: Flavour and version.
        gpu: Name, compute capability and multiprocessors; not which one of several alike.
        l4t: The Jetson's release, empty elsewhere.
        flags: How it is built, with the version of this builder.
    """

    onnx_sha256: str
    tensorrt: str
    gpu: str
    l4t: str
    flags: str

    @property
    def digest(self) -> str:
        return _digest(asdict(self))

    @property
    def device_digest(self) -> str:
        """Of what the timings depend on: everything but the model."""
        return _digest({**asdict(self), "onnx_sha256": ""})


@dataclass(frozen=True)
class CachedEngine:
    """An engine's bytes as they were hashed, or else why there are none."""

    data: bytes | None
    reason: str = ""


class EngineCache:
    """A folder of engines.

    Args:
        folder: It is made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: EngineKey) -> Path:
        """The engine's folder."""
        return self.folder / key.digest[:_DIGEST_BYTES]

    def read(self, key: EngineKey) -> CachedEngine:
        """The engine of that key, whole and unchanged, or why not."""
        place = self.path(key)
        if not place.exists():
            return CachedEngine(None, "no engine has been built for this model, TensorRT and GPU")
        try:
            sidecar = json.loads(read_file(place / SIDECAR_NAME, MAX_SIDECAR_BYTES))
            data = read_file(place / ENGINE_NAME, MAX_ENGINE_BYTES)
        except (BundleError, ValueError) as error:
            found = error.found if isinstance(error, BundleError) else str(error)
            return CachedEngine(None, f"the cached engine cannot be read ({found})")
        if not isinstance(sidecar, dict) or sidecar.get("format") != _FORMAT:
            return CachedEngine(None, f"{SIDECAR_NAME} is of another kind")
        if sidecar.get("key") != asdict(key):
            return CachedEngine(None, "the cached engine is of another model, TensorRT or GPU")
        if sidecar.get("sha256") != hashlib.sha256(data).hexdigest():
            return CachedEngine(None, "the cached engine is damaged: its hash is another")
        return CachedEngine(data)

    @contextmanager
    def staged(self, key: EngineKey, data: bytes, about: Mapping[str, Any]) -> Iterator[None]:
        """Write an engine that becomes the cached one when the block ends well, and vanishes when not.

        Args:
            key: Its key.
            data: The engine.
            about: What else its ``engine.json`` should tell.

        Raises:
            OutputError: It cannot be written.
        """
        self._make_folder()
        with atomic_folder(self.path(key)) as staging:
            (staging / ENGINE_NAME).write_bytes(data)
            values = {
                "format": _FORMAT,
                "key": asdict(key),
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                **about,
            }
            (staging / SIDECAR_NAME).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
            yield

    def timings(self, key: EngineKey) -> bytes:
        """The timing cache of the key's device; empty where there is none, or it is damaged."""
        try:
            data = read_file(self._timings_path(key), MAX_TIMINGS_BYTES)
        except BundleError:
            return b""
        digest, contents = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        return contents if hashlib.sha256(contents).digest() == digest else b""

    def keep_timings(self, key: EngineKey, contents: bytes) -> None:
        """Store the timing cache of the key's device, its hash before it."""
        if contents:
            self._make_folder()
            with atomic_file(self._timings_path(key)) as staging:
                staging.write_bytes(hashlib.sha256(contents).digest() + contents)

    def _timings_path(self, key: EngineKey) -> Path:
        return self.folder / f"timings-{key.device_digest[:_DIGEST_BYTES]}.bin"

    def _make_folder(self) -> None:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=_OWNER_ONLY, exist_ok=True)
        except OSError as error:
            raise OutputError.of(self.folder, error) from error


def _digest(values: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
