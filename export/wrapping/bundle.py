"""A foreign model file to a verified bundle: read, wrap, compare with the bare file, gate, write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import GOLDEN_NAME, REPORT_NAME, FileFormat
from edgeseg.errors import AccuracyGateError, UsageError
from edgeseg.export import defaults
from edgeseg.export.converter import quiet
from edgeseg.export.golden import GOLDEN_FRAMES, golden_archive, golden_frames
from edgeseg.export.measure import loaded
from edgeseg.export.parity import Comparison, reference_of
from edgeseg.export.plan import bundle_path, refuse_two_names
from edgeseg.export.progress import Stage, silent
from edgeseg.export.selection import MeasuredOn, chosen_split, spread
from edgeseg.export.targets import Format, Target, target_named
from edgeseg.export.wrapping.describe import MIN_AGREEMENT, UNPROVED, Proof, Wrapped, manifest_of, report_of
from edgeseg.export.wrapping.litert_file import LiteRTFile
from edgeseg.export.wrapping.onnx_file import OnnxFile
from edgeseg.export.wrapping.read_model import read_model
from edgeseg.export.wrapping.reading import Asked, Reading
from edgeseg.export.wrapping.reference import BareModel
from edgeseg.export.wrapping.tensors import RawModel
from edgeseg.export.writer import replacing, write_bundle
from edgeseg.labels import LabelSet, Mask, require_same_classes
from edgeseg.metrics import agreement
from edgeseg.resize import Image, resize_image
from edgeseg.runtimes.tensorrt.graph_check import refuse_known_bad
from edgeseg.segmenter import Segmenter
from edgeseg.training.data import open_dataset
from edgeseg.training.data.dataset import Dataset
from edgeseg.training.data.synthetic import draw_scene

FILES: dict[str, Callable[[Path, bytes], RawModel]] = {".tflite": LiteRTFile, ".onnx": OnnxFile}
"""A file's suffix to what opens it."""

_USUAL_TARGETS: dict[FileFormat, str] = {"tflite": "arm", "onnx": "x86"}
_DRAWN_SIZE = (256, 512)
_SEED = 7


@dataclass(frozen=True)
class WrapOptions:
    """What ``edgeseg bundle`` is asked for.

    Args:
        asked: What is known of the model.
        target: One of ``TARGETS``; by default ``arm`` for ``.tflite`` and ``x86`` for ``.onnx``.
        data: The dataset that golden frames are taken from and that accuracy is measured on; without it the
            frames are drawn, and no accuracy is known.
        split: The split of it; by default ``val``.
        samples: At most so many samples of it, spread evenly.
        out: The folder for the bundle, or the bundle itself where it ends in ``.edgeseg``.
        name: The bundle's name; by default from file, target and precision.
    """

    asked: Asked = field(default_factory=Asked)
    target: str | None = None
    data: str | None = None
    split: str | None = None
    samples: int = defaults.SAMPLES
    out: Path = defaults.OUT
    name: str | None = None


@dataclass(frozen=True)
class WrapResult:
    """A bundle that was written: its folder, its manifest, and notes."""

    path: Path
    manifest: Manifest
    notes: Sequence[str]


def bundle_model(file: Path, labels: LabelSet, options: WrapOptions, stage: Stage = silent) -> WrapResult:
    """Wrap a ``.tflite`` or ``.onnx`` file in a bundle, and prove that the bundle does what the file does.

    Args:
        file: The model.
        labels: Its classes in the order of its ids.
        options: What else is known and asked for.
        stage: Told about each long step.

    Raises:
        UsageError: An option or the file does not fit, or the place cannot be written.
        DataError: The file is damaged, the labels are not the model's, or the dataset cannot be used.
        UnsafeModelError: The file needs code or data from outside itself.
        ConversionError: The wrapped file could not be written, or TensorRT is known to refuse it.
        AccuracyGateError: The wrapped file gives other masks than the bare one; no bundle is left.
    """
    refuse_two_names(options.out, options.name)
    data = _opened_data(options, labels)
    with stage(f"Reading {file.name}"), quiet():
        raw = open_file(file)
        reading = read_model(raw, options.asked, labels)
        target, kind = _target(raw, options.target)
        usual = "-".join([file.stem, target.name, raw.precision])
        destination = bundle_path(options.out, options.name, usual)
        wrapped = Wrapped(raw, options.asked, reading, labels, target, kind, raw.wrapped(reading))
    if target.builds_engine:
        refuse_known_bad(wrapped.file, wrapped.data)
    bare = BareModel(raw, reading, labels)
    with stage("Running the bare model"):
        frames = data.golden(reading) if data else drawn_frames(reading.input.height, reading.input.width)
        masks = np.stack([bare.predict(frame) for frame in frames])
    draft = manifest_of(destination.stem, wrapped, UNPROVED)
    with loaded(Bundle(destination, draft, labels, {wrapped.file: wrapped.data}), self_test=False) as opened:
        proof = _proof(bare, opened[wrapped.file], frames, masks, data, stage)
    _gate(file, proof)
    manifest = manifest_of(destination.stem, wrapped, proof)
    replaced = replacing(destination)
    golden = golden_archive(frames, {raw.precision: masks})
    members = {wrapped.file: wrapped.data, GOLDEN_NAME: golden, REPORT_NAME: report_of(manifest, proof)}
    with stage("Writing and testing the bundle"):
        manifest = write_bundle(destination, manifest, members)
    return WrapResult(destination, manifest, [*proof.notes(), *replaced])


def open_file(path: Path) -> RawModel:
    """Open a foreign model by its suffix.

    Raises:
        UsageError: There is no such file, or none of a known kind.
        DataError, UnsafeModelError: It cannot be used.
    """
    if path.suffix.lower() not in FILES or not path.is_file():
        raise UsageError(
            path,
            expected=f"a model file, {' or '.join(FILES)}",
            found="a file of another kind" if path.is_file() else "nothing there",
            next_step="Name such a file; a .keras file goes through edgeseg export.",
        )
    return FILES[path.suffix.lower()](path, path.read_bytes())


def drawn_frames(height: int, width: int) -> Image:
    """Street scenes ``uint8 [K, height, width, 3]`` RGB, always the same."""
    scenes = (draw_scene(_SEED, "golden", index, *_DRAWN_SIZE)[0] for index in range(GOLDEN_FRAMES))
    return np.stack([resize_image(scene, height, width) for scene in scenes])


@dataclass(frozen=True)
class _Labelled:
    """Labelled images to compare and score on."""

    dataset: Dataset
    measured_on: MeasuredOn
    samples: int

    def golden(self, reading: Reading) -> Image:
        given = reading.input
        return golden_frames(self.dataset, self.measured_on.split, given.height, given.width)

    def compared(self, bare: BareModel, segmenter: Segmenter, labels: LabelSet, stage: Stage) -> Comparison:
        """The wrapped file beside the bare one, on every sample."""
        items = spread(self.dataset.items(self.measured_on.split), self.samples)
        with stage(f"Running the bare model on {self.measured_on.split}") as advance:
            reference = reference_of(
                bare.predict,
                lambda: (self.dataset.read(item) for item in items),
                labels,
                (segmenter.height, segmenter.width),
                lambda finished: advance(finished, len(items)),
            )
        with stage(f"Running the bundle on {self.measured_on.split}") as advance:
            return reference.compare(segmenter.predict, advance)


def _opened_data(options: WrapOptions, labels: LabelSet) -> _Labelled | None:
    if options.data is None:
        return None
    dataset = open_dataset(options.data)
    require_same_classes(labels, dataset.labels, f"dataset {dataset.spec}")
    split = chosen_split(dataset, options.split, None, "val")
    return _Labelled(dataset, MeasuredOn(dataset.spec, split, dataset.fingerprint(split)), options.samples)


def _target(raw: RawModel, name: str | None) -> tuple[Target, Format]:
    target = target_named(name or _USUAL_TARGETS[raw.format])
    for kind in target.formats:
        if kind.stored == raw.format:
            return target, kind
    raise UsageError(
        f"--target {target.name}",
        expected=f"a target that runs {raw.format} files",
        found=f"one that runs {', '.join(kind.name for kind in target.formats)}",
        next_step="Leave --target out, or convert the model for it.",
    )


def _proof(
    bare: BareModel,
    segmenter: Segmenter,
    frames: Image,
    expected: Mask,
    data: _Labelled | None,
    stage: Stage,
) -> Proof:
    """How like the bare file the wrapped one is, over the golden frames and every labelled sample.

    ``expected`` is what the bare file gives of the golden frames.
    """
    with stage("Comparing the bundle with the bare model"):
        shares = [agreement(segmenter.predict(f), mask) for f, mask in zip(frames, expected, strict=True)]
    seen = len(np.unique(expected))
    if data is None:
        return Proof(len(frames), float(np.mean(shares)), seen, segmenter.runtime_name)
    comparison = data.compared(bare, segmenter, bare.labels, stage)
    samples = comparison.artifact.samples
    total = len(frames) + samples
    mean = (sum(shares) + samples * comparison.agreement) / total
    return Proof(total, mean, seen, segmenter.runtime_name, data.measured_on, comparison)


def _gate(file: Path, proof: Proof) -> None:
    # Not `agreement < least`: what is not a number must not pass.
    if not proof.agreement >= MIN_AGREEMENT:
        raise AccuracyGateError(
            file,
            expected=f"a wrapped model that gives {MIN_AGREEMENT:.1%} of the pixels that the bare one gives",
            found=f"{proof.agreement:.3%} over {proof.frames} frames",
            next_step="No bundle was written. Report this with the file: it was read or wrapped wrongly.",
        )
