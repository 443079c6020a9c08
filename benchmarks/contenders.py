"""What is measured: bundles, and model files of anybody."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeseg.benchmarks.loaders import BUNDLE, loader_of
from edgeseg.benchmarks.protocol import Job, Loaded, Opened, Scaling
from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import UsageError


@dataclass(frozen=True)
class Subject:
    """What was measured. ``size_mib`` is the model's, weights and all.

    ``target`` and ``build`` are a bundle's, and ``None`` of a model file that is none.
    """

    name: str
    path: str
    target: str | None
    model: str
    digest: str
    size_mib: float
    height: int
    width: int
    build: str | None


@dataclass(frozen=True)
class Choice:
    """How contenders are opened, where there is a choice.

    Args:
        runtime: The runtime for all bundles, or ``None`` for each bundle's own choice.
        precision: The precision for all bundles, or ``None`` for each bundle's own choice.
        trusted_keys: Public keys, PEM files, one of which must have signed each bundle; ``None``: none need.
        scaling: How the pixels of model files that take floats are scaled.
    """

    runtime: str | None = None
    precision: str | None = None
    trusted_keys: tuple[str, ...] | None = None
    scaling: Scaling | None = None


ANY = Choice()


@dataclass(frozen=True)
class Contender:
    """One line of the table: a model with all that it is opened with. ``bundle`` where it is one."""

    name: str
    path: Path
    loader: str
    threads: int
    choice: Choice
    bundle: Bundle | None = None

    def job(self, frames: tuple[bytes, ...]) -> Job:
        """What its worker process is told."""
        return Job(
            str(self.path),
            self.loader,
            self.threads,
            frames,
            self.choice.runtime,
            self.choice.precision,
            self.choice.trusted_keys,
            self.choice.scaling,
        )

    def subject(self, opened: Opened) -> Subject:
        """What is said of it in the results."""
        if self.bundle is None:
            data = _contents(self.path)
            size, digest = len(data), hashlib.sha256(data).hexdigest()
            target, model, build = None, self.path.stem, None
        else:
            manifest = self.bundle.manifest
            size, digest = self.bundle.model_size(self.model_file(opened.loaded)), self.bundle.digest
            target, model, build = manifest.target, manifest.lineage.model, manifest.build.state
        return Subject(
            name=self.name,
            path=str(self.path),
            target=target,
            model=model,
            digest=digest,
            size_mib=round(size / 2**20, 3),
            height=opened.height,
            width=opened.width,
            build=build,
        )

    def model_file(self, loaded: Loaded) -> ModelFile:
        """The bundle's file that was loaded."""
        if self.bundle is None:
            raise ValueError(f"{self.path} is no bundle")
        return next(m for m in self.bundle.manifest.models if m.file == loaded.model_file)


def contenders_of(paths: Sequence[Path], threads: Sequence[int], choice: Choice = ANY) -> list[Contender]:
    """Each path with each number of threads, under names that differ.

    Raises:
        UsageError: A file is of no known kind, or no number of threads is given.
        BundleError: A bundle cannot be used.
    """
    if not paths or not threads:
        raise UsageError(
            "benchmark",
            expected="at least one model, and a number of threads",
            found=f"{len(paths)} models, {len(threads)} numbers of threads",
            next_step="Name a bundle.",
        )
    found = []
    for path, name in zip(paths, names_of(paths), strict=True):
        loader = loader_of(path)
        bundle = Bundle.open(path, choice.trusted_keys) if loader == BUNDLE else None
        found.append(Contender(name, path, loader, threads[0], choice, bundle))
    if len(threads) == 1:
        return found
    return [replace(one, threads=count, name=f"{one.name} ×{count}") for one in found for count in threads]


def names_of(paths: Sequence[Path]) -> list[str]:
    """Short names that differ: with the folder's, where two are called the same."""
    stems = [path.resolve().stem for path in paths]
    counts = Counter(stems)
    names = [
        stem if counts[stem] == 1 else f"{path.resolve().parent.name}/{path.name}"
        for stem, path in zip(stems, paths, strict=True)
    ]
    again = Counter(names)
    return [name if again[name] == 1 else f"{number}: {name}" for number, name in enumerate(names, start=1)]


def _contents(path: Path) -> bytes:
    """All bytes of a model; an OpenVINO graph's weights lie beside it."""
    weights = path.with_suffix(".bin")
    beside = weights.read_bytes() if path.suffix == ".xml" and weights.is_file() else b""
    return path.read_bytes() + beside
