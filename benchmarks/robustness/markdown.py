"""A robustness result as Markdown, for an issue or ``benchmarks/results/``, and as tables for a terminal."""

from __future__ import annotations

from typing import NamedTuple

from edgeseg.benchmarks.corruptions import CORRUPTIONS
from edgeseg.benchmarks.host import NOT_MEASURED
from edgeseg.benchmarks.robustness.plan import CLEAN
from edgeseg.benchmarks.robustness.results import NOT_COVERED, BundleRobustness, RobustnessResult
from edgeseg.tables import markdown_table, points


class Table(NamedTuple):
    """A header and rows of text."""

    header: list[str]
    rows: list[list[str]]


def to_markdown(result: RobustnessResult) -> str:
    """The whole result: what was found, under what it was measured, and what it does not say."""
    first = result.bundles[0].name
    sections = [
        "# Robustness of " + ", ".join(bundle.name for bundle in result.bundles),
        f"`{result.command}`\n\n{conditions(result)}",
        "## Summary\n\n" + markdown_table(*summary(result)),
        reading(result),
        "## mIoU retained, %, by corruption\n\n"
        f"Means over the severities. In brackets: points beside {first}.\n\n"
        + markdown_table(*by_corruption(result)),
        "## mIoU retained, %, by severity\n\n" + markdown_table(*by_severity(result)),
        *(f"## {b.name}: mIoU retained, %\n\n" + markdown_table(*cells(result, b)) for b in result.bundles),
    ]
    if result.calibrated:
        sections.append("## Calibration\n\n" + markdown_table(*calibration(result)))
    if result.suite.source:
        sections.append(f"## Flicker\n\n{flicker_note(result)}\n\n" + markdown_table(*flicker(result)))
    sections.append("## Not covered\n\n" + "\n".join(f"- {what}: {why}" for what, why in NOT_COVERED.items()))
    return "\n\n".join(sections) + "\n"


def conditions(result: RobustnessResult) -> str:
    """Under what the numbers were measured."""
    images, suite = result.images, result.suite
    severities = ", ".join(map(str, suite.severities))
    versions = ", ".join(f"{name} {version}" for name, version in result.host.versions.items())
    return (
        f"{result.created}. {images.count} images of {images.dataset} {images.split}; "
        f"{len(suite.corruptions)} corruptions at severity {severities}; seed {suite.seed}. "
        f"{result.host.describe()} {versions}; {result.threads} threads."
    )


def reading(result: RobustnessResult) -> str:
    """What the columns mean."""
    text = (
        "mIoU in points at label resolution, from one confusion matrix over all images. *Retained* is the "
        "mIoU on corrupted images divided by that on clean ones; in its mean every corruption and severity "
        "weighs the same. All bundles got the same pixels."
    )
    if result.calibrated:
        text += (
            " ECE is the expected calibration error in points (15 bins, model resolution): how far "
            "confidence and share of right pixels lie apart."
        )
    return text


def summary(result: RobustnessResult) -> Table:
    """One row per bundle."""
    header = ["bundle", "runtime", "clean mIoU", "corrupted mIoU", "retained %", "beside the first"]
    rows = [
        [
            bundle.name,
            bundle.kind,
            points(bundle.clean_miou),
            points(bundle.mean_miou),
            points(bundle.mean_retained()),
            _difference(result, bundle),
        ]
        for bundle in result.bundles
    ]
    if result.calibrated:
        header.append("ECE clean / corrupted")
        for bundle, row in zip(result.bundles, rows, strict=True):
            row.append(_errors(bundle))
    return Table(header, rows)


def by_corruption(result: RobustnessResult) -> Table:
    """One row per corruption, one column per bundle."""
    first, *others = result.bundles
    rows = []
    for name in result.suite.corruptions:
        cells_ = result.cells_of(name)
        row = [name, CORRUPTIONS[name].group, points(first.mean_retained(cells_))]
        for other in others:
            more = other.mean_retained(cells_) - first.mean_retained(cells_)
            row.append(f"{points(other.mean_retained(cells_))} ({100 * more:+.1f})")
        rows.append(row)
    return Table(["corruption", "group", *(bundle.name for bundle in result.bundles)], rows)


def by_severity(result: RobustnessResult) -> Table:
    """One row per bundle, one column per severity."""
    severities = result.suite.severities
    rows = [
        [bundle.name, *(points(bundle.mean_retained(result.cells_of(severity=s))) for s in severities)]
        for bundle in result.bundles
    ]
    return Table(["bundle", *(f"severity {s}" for s in severities)], rows)


def cells(result: RobustnessResult, bundle: BundleRobustness) -> Table:
    """One row per corruption, one column per severity."""
    severities = result.suite.severities
    rows = [
        [name, *(points(bundle.retained(cell)) for cell in result.cells_of(name))]
        for name in result.suite.corruptions
    ]
    return Table(["corruption", *map(str, severities)], rows)


def calibration(result: RobustnessResult) -> Table:
    """One row per bundle that gives its confidence and severity, 0 being the clean images."""
    rows = []
    for bundle in result.calibrated:
        for severity in (0, *result.suite.severities):
            chosen = result.cells_of(severity=severity) if severity else [CLEAN]
            found = bundle.calibration(chosen)
            if found:
                values = (found.mean_confidence, found.accuracy, found.ece)
                rows.append([bundle.name, str(severity or "clean"), *map(points, values)])
    return Table(["bundle", "severity", "mean confidence %", "pixels right %", "ECE"], rows)


def flicker(result: RobustnessResult) -> Table:
    """One row per corruption, one column per bundle: of all pixels, and of those that look as before."""
    rows = []
    for cell in result.suite.flicker_cells:
        found = [bundle.flickers[cell] for bundle in result.bundles]
        shares = (f"{100 * one.changed:.2f} / {100 * one.still:.2f}" for one in found)
        rows.append([cell.corruption if cell == CLEAN else f"{cell.corruption} {cell.severity}", *shares])
    return Table(["video", *(f"{bundle.name}: all / still" for bundle in result.bundles)], rows)


def flicker_note(result: RobustnessResult) -> str:
    """What was played, and how to read it."""
    frames = result.bundles[0].flickers[CLEAN].frames
    return (
        f"{frames} frames of {result.source_name}. Pixels, in %, whose class differs from that in the frame "
        "before: of all, which real motion is in too, and of the still ones, which look as before there. "
        "Compare bundles, and a row with the clean one; the level is the video's."
    )


def _difference(result: RobustnessResult, bundle: BundleRobustness) -> str:
    first = result.bundles[0]
    return "–" if bundle is first else f"{100 * (bundle.mean_retained() - first.mean_retained()):+.2f}"


def _errors(bundle: BundleRobustness) -> str:
    clean, corrupted = bundle.calibration([CLEAN]), bundle.calibration(bundle.cells)
    return f"{points(clean.ece)} / {points(corrupted.ece)}" if clean and corrupted else NOT_MEASURED
