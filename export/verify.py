"""Every check of a bundle, one after the other: what loading checks, and parity with its Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.bundle.manifest import Parity, RecordedAccuracy, Wrapping
from edgeseg.errors import AccuracyGateError, EdgesegError
from edgeseg.evaluation import Evaluator
from edgeseg.export import defaults
from edgeseg.export.converter import quiet
from edgeseg.export.foreign import Foreign, refuse
from edgeseg.export.measure import compare_with_keras, keras_reference, loaded
from edgeseg.export.parity import Budget, faults_of, mean_iou_faults
from edgeseg.export.progress import Advance, Stage, silent
from edgeseg.export.selection import chosen_split, spread
from edgeseg.export.source import file_sha256, open_source
from edgeseg.labels import require_same_classes
from edgeseg.resize import resize_image
from edgeseg.runtimes import RUNTIMES
from edgeseg.segmenter import Segmenter, load
from edgeseg.training.data import open_dataset
from edgeseg.training.data.dataset import Dataset, Item


@dataclass(frozen=True)
class Check:
    """One check: what was looked at, how it ended, and what was seen.

    ``note`` is something seen that is no fault; ``skipped`` could not be done here.
    """

    name: str
    subject: str
    state: Literal["passed", "failed", "skipped", "note"]
    seen: str


OnCheck = Callable[[Check], None]


@dataclass(frozen=True)
class VerifyOptions:
    """What to verify beyond the bundle itself.

    Args:
        against: The ``.keras`` file to compare with, pixel by pixel; of a wrapped bundle, the bare file.
        data: The dataset to measure on; with ``against`` by default the one the model was trained on.
        max_drop_points: mIoU that may be lost, in points; by default what the export allowed.
        split: The split to measure on; by default the one that the run was validated on with ``against``, and
            the one that the export measured on without.
        samples: At most so many samples of it, spread evenly; by default as many as the export measured on.
        pixel_scale: How pixels were scaled in the training of ``against``, where that was not edgeseg's.
        channel_order: The order of its colours, likewise.
        trusted_keys: Public keys, PEM files. Where given, one of them must have signed the bundle.
    """

    against: Path | None = None
    data: str | None = None
    max_drop_points: float | None = None
    split: str | None = None
    samples: int | None = None
    pixel_scale: str | None = None
    channel_order: str | None = None
    trusted_keys: Sequence[Path] | None = None


def verify_bundle(path: Path, options: VerifyOptions, on_check: OnCheck, stage: Stage = silent) -> Bundle:
    """Check a bundle as the vehicle does, and on request measure it again as the export did.

    In order: the signature where one is required, the set of files, their sizes, hashes and the manifest's
    schema; for every model file and every installed runtime the graph contract and the golden self-test; then
    with ``against`` the agreement with Keras and the mIoU drop, or with ``data`` alone the mIoU. Of a wrapped
    bundle ``against`` is the bare file, and the agreement is that of the golden frames.

    Args:
        path: ``NAME.edgeseg/``.
        options: What to do beyond the bundle itself.
        on_check: Told each check as it ends, a failed one too.
        stage: Told about each long step.

    Raises:
        BundleError: The first check of the bundle itself that failed, naming the member.
        AccuracyGateError: The bundle's models are worse than allowed.
        UsageError, DataError: The Keras file or the dataset cannot be used.
    """
    with _reported("files and hashes", path.name, on_check) as seen:
        bundle = Bundle.open(path, options.trusted_keys)
        total = sum(member.size for member in bundle.manifest.members)
        seen(f"{len(bundle.members)} members, {total / 1e6:.1f} MB, {bundle.signature}")
    wrapping = bundle.manifest.models[0].wrapping
    if wrapping is not None:
        why = f"the wrapped bundle {path.name} records how {wrapping.file} takes its pixels"
        refuse("--pixel-scale", options.pixel_scale, why)
        refuse("--channel-order", options.channel_order, why)
    _check_models(bundle, on_check)
    if options.against is not None and wrapping is not None:
        _check_against_bare(bundle, wrapping, options.against, on_check)
        if options.data is not None:
            _check_accuracy(bundle, options.data, options, on_check, stage)
    elif options.against is not None:
        _check_against_keras(bundle, options.against, options, on_check, stage)
    elif options.data is not None:
        _check_accuracy(bundle, options.data, options, on_check, stage)
    else:
        on_check(Check("parity and accuracy", path.name, "skipped", "needs --against FILE or --data"))
    return bundle


def _check_models(bundle: Bundle, on_check: OnCheck) -> None:
    names = bundle.manifest.runtime.names
    usable = [name for name in names if name in RUNTIMES and RUNTIMES[name].version() is not None]
    for name in names:
        if name not in usable:
            on_check(Check("golden self-test", name, "skipped", "this runtime is not installed here"))
    if not usable:
        # Loading is what says which runtimes to install.
        load(bundle)
    for name in usable:
        for model in bundle.manifest.models:
            if model.format in RUNTIMES[name].formats:
                _check_model(bundle, name, model, on_check)


def _check_model(bundle: Bundle, runtime: str, model: ModelFile, on_check: OnCheck) -> None:
    subject = f"{model.file}, {runtime} {RUNTIMES[runtime].version()}"
    with _reported("graph contract", subject, on_check) as seen:
        with quiet():
            segmenter = load(
                bundle, runtime=runtime, precision=model.precision, self_test=False, isolate=True
            )
        output = bundle.manifest.output
        computed = f", floats in {segmenter.computes_in}" if segmenter.computes_in else ""
        seen(f"uint8 {segmenter.height}x{segmenter.width} RGB to {output.kind} {output.dtype}{computed}")
    with segmenter, _reported("golden self-test", subject, on_check) as seen:
        lowest = segmenter.self_test()
        seen(f"{lowest:.3%} of pixels, {model.golden_min_agreement:.1%} needed")


def _check_against_keras(
    bundle: Bundle, against: Path, options: VerifyOptions, on_check: OnCheck, stage: Stage
) -> None:
    size = bundle.manifest.input
    foreign = Foreign(options.pixel_scale, (size.height, size.width), channel_order=options.channel_order)
    source = open_source(against, options.data, options.split, stage, foreign)
    require_same_classes(bundle.labels, source.labels, f"dataset {source.dataset.spec}")
    same = file_sha256(against) == bundle.manifest.lineage.keras_file_sha256
    on_check(_same_file(against, same=same, made="exported"))
    reference = keras_reference(source, _samples(bundle, options), stage)
    with loaded(bundle, self_test=False) as segmenters:
        comparisons = {file: compare_with_keras(reference, s, stage) for file, s in segmenters.items()}
    faults = {}
    for model in bundle.manifest.models:
        comparison = comparisons[model.file]
        faults[model.file] = faults_of(comparison, model.precision, _budget(model, options))
        seen = (
            f"{comparison.agreement:.3%} of pixels as Keras; mIoU {100 * comparison.artifact_miou:.2f}, "
            f"Keras {100 * comparison.keras_miou:.2f}, drop {comparison.drop_points:+.2f} points"
        )
        state = "failed" if faults[model.file] else "passed"
        on_check(Check("parity with Keras", model.file, state, seen))
    _gate(bundle, faults)


def _check_against_bare(bundle: Bundle, wrapping: Wrapping, against: Path, on_check: OnCheck) -> None:
    from edgeseg.export.wrapping.against import agreement_with_bare, is_bare_file, opened_bare

    raw = opened_bare(against)
    on_check(_same_file(against, same=is_bare_file(wrapping, raw), made="wrapped"))
    file = bundle.manifest.models[0].file
    with _reported("same as bare", file, on_check) as seen:
        share = agreement_with_bare(bundle, wrapping, raw)
        text = f"{share:.3%} of the golden frames' pixels as {against.name} run bare"
        if not share >= wrapping.min_agreement:
            _gate(bundle, {file: [f"{text}, where {wrapping.min_agreement:.1%} are needed"]})
        seen(text)


def _same_file(against: Path, *, same: bool, made: str) -> Check:
    if same:
        return Check("lineage", str(against), "passed", f"the very file that was {made}")
    return Check("lineage", str(against), "note", f"not the file that was {made}: its hash is another")


def _check_accuracy(
    bundle: Bundle, data: str, options: VerifyOptions, on_check: OnCheck, stage: Stage
) -> None:
    """mIoU beside what Keras had at export, and judged by it where both are of the very same samples."""
    dataset = open_dataset(data)
    require_same_classes(bundle.labels, dataset.labels, f"dataset {dataset.spec}")
    exported = bundle.manifest.models[0].measured
    split = chosen_split(dataset, options.split, exported and exported.split, "val")
    items = spread(dataset.items(split), _samples(bundle, options))
    # As many samples, spread over the same split by the same rule, are the same ones.
    same = (exported.samples, exported.fingerprint) if exported else None
    as_exported = same == (len(items), dataset.fingerprint(split))
    faults = {}
    with loaded(bundle, self_test=False) as segmenters:
        for model in bundle.manifest.models:
            with stage(f"Measuring {model.file} on {split}") as advance:
                miou = _miou(segmenters[model.file], dataset, items, advance)
            seen = f"mIoU {100 * miou:.2f} on {len(items)} samples"
            if model.measured is None:
                on_check(Check("accuracy", model.file, "note", f"{seen}; none was recorded"))
                continue
            original, recorded = _recorded(model.measured)
            seen += f"; {original} had {100 * recorded:.2f} at export"
            if not as_exported:
                on_check(Check("accuracy", model.file, "note", f"{seen}, on other samples"))
                continue
            faults[model.file] = mean_iou_faults(recorded, miou, _max_drop(model, options))
            on_check(Check("accuracy", model.file, "failed" if faults[model.file] else "passed", seen))
    _gate(bundle, faults)


def _miou(segmenter: Segmenter, dataset: Dataset, items: Sequence[Item], advance: Advance) -> float:
    evaluator = Evaluator(dataset.labels)
    for index, item in enumerate(items, start=1):
        sample = dataset.read(item)
        image = resize_image(sample.image, segmenter.height, segmenter.width)
        evaluator.add(sample, segmenter.predict(image))
        advance(index, len(items))
    return evaluator.result().label_scores.miou


def _samples(bundle: Bundle, options: VerifyOptions) -> int:
    recorded = bundle.manifest.models[0].measured
    return options.samples or (recorded.samples if recorded else defaults.SAMPLES)


def _recorded(measured: Parity | RecordedAccuracy) -> tuple[str, float]:
    """What the bundle's model was measured beside, and the mIoU of that."""
    if isinstance(measured, Parity):
        return "Keras", measured.keras_miou
    return "the bare model", measured.bare_miou


def _budget(model: ModelFile, options: VerifyOptions) -> Budget:
    """What was allowed at export; of classes only where nothing else is asked for."""
    asked = options.max_drop_points is not None
    of_classes = None if asked or model.parity is None else model.parity.max_class_drop_points
    return Budget(_max_drop(model, options), of_classes)


def _max_drop(model: ModelFile, options: VerifyOptions) -> float:
    if options.max_drop_points is not None:
        return options.max_drop_points
    return defaults.MAX_DROP_POINTS if model.parity is None else model.parity.max_drop_points


def _gate(bundle: Bundle, faults: dict[str, list[str]]) -> None:
    found = "; ".join(f"{file}: {fault}" for file, some in faults.items() for fault in some)
    if found:
        raise AccuracyGateError(
            bundle.path,
            expected="models as good as the original, within the budget",
            found=found,
            next_step="Do not use the bundle on this runtime; export it again and compare its report.json.",
        )


@contextmanager
def _reported(name: str, subject: str, on_check: OnCheck) -> Iterator[Callable[[str], None]]:
    """The block is one check; it says what it saw, and an error in it is reported before it goes on."""
    said: list[str] = []
    try:
        yield said.append
    except EdgesegError as error:
        on_check(Check(name, subject, "failed", f"{error.subject}: {error.found}"))
        raise
    on_check(Check(name, subject, "passed", "; ".join(said)))
