"""A robustness run's folder: the numbers as JSON and Markdown, plots, sample pictures and one page."""

from __future__ import annotations

from pathlib import Path

from edgeseg.benchmarks.corruptions import CORRUPTIONS
from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.pages import write_page
from edgeseg.benchmarks.robustness import markdown
from edgeseg.benchmarks.robustness.plan import CLEAN
from edgeseg.benchmarks.robustness.plots import plot_curves, plot_heat_map, plot_reliability
from edgeseg.benchmarks.robustness.results import NOT_COVERED, RobustnessResult
from edgeseg.benchmarks.robustness.sheet import strips, write_sheet
from edgeseg.tables import points


def write_numbers(result: RobustnessResult, folder: Path) -> None:
    """``robustness.json`` and ``robustness.md``: all that was found, and no package needed for it."""
    write_documents(result.to_dict(), markdown.to_markdown(result), folder / "robustness")


def write_pictures(result: RobustnessResult, folder: Path) -> None:
    """``samples.jpg``, the plots and ``report.html``.

    Raises:
        MissingExtraError: Matplotlib or Jinja2 is not installed.
    """
    pictures = strips(result)
    write_sheet(pictures, result.suite.severities, folder / "samples.jpg")
    heat_map, curves, reliability = (folder / f"{name}.png" for name in ("heat-map", "curves", "reliability"))
    plot_heat_map(result, heat_map)
    plot_curves(result, curves)
    if result.calibrated:
        plot_reliability(result, reliability)
    write_page(
        folder / "report.html",
        "robustness.html.j2",
        result=result,
        headlines=_headlines(result),
        summary=markdown.summary(result),
        by_corruption=markdown.by_corruption(result),
        calibration=markdown.calibration(result) if result.calibrated else None,
        flicker=markdown.flicker(result) if result.suite.source else None,
        flicker_note=markdown.flicker_note(result) if result.suite.source else "",
        conditions=markdown.conditions(result),
        heat_map=heat_map,
        curves=curves,
        reliability=reliability if result.calibrated else None,
        strips=pictures,
        corruptions=CORRUPTIONS,
        not_covered=NOT_COVERED,
    )


def _headlines(result: RobustnessResult) -> list[tuple[str, str, str]]:
    """Label, value and note of the numbers at the top."""
    best = max(result.bundles, key=lambda bundle: bundle.mean_miou)
    keeps = max(result.bundles, key=lambda bundle: bundle.mean_retained())
    first = result.bundles[0]
    worst = min(result.suite.corruptions, key=lambda name: first.mean_retained(result.cells_of(name)))
    lines = [
        (
            "Most retained",
            f"{points(keeps.mean_retained())} %",
            f"{keeps.name}, of {points(keeps.clean_miou)} mIoU",
        ),
        ("Best mIoU when corrupted", points(best.mean_miou), best.name),
        (
            "Least retained",
            f"{points(first.mean_retained(result.cells_of(worst)))} %",
            f"{first.name}, {worst}",
        ),
    ]
    if len(result.bundles) > 1:
        gaps = [100 * (b.mean_retained() - first.mean_retained()) for b in result.bundles[1:]]
        widest = max(gaps, key=abs)
        lines.append(
            ("Largest gap to the first", f"{widest:+.2f}", f"points of retained mIoU beside {first.name}")
        )
    if result.calibrated:
        one = result.calibrated[0]
        found, clean = one.calibration(one.cells), one.calibration([CLEAN])
        if found and clean:
            lines.append(
                ("ECE when corrupted", points(found.ece), f"{one.name}; {points(clean.ece)} on clean images")
            )
    return lines
