"""A comparison's files: its numbers as JSON, CSV and Markdown, and its two pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from edgeseg import __version__
from edgeseg.atomic import write_text
from edgeseg.tables import markdown_table, points
from edgeseg.training.comparison.outcome import Outcome
from edgeseg.training.comparison.plan import Comparison
from edgeseg.training.comparison.plots import plot_classes, plot_scores
from edgeseg.training.comparison.table import Row, Spread, class_names, rows_of
from edgeseg.training.documents import Origin, csv_text

SCORES_PLOT = "comparison.png"
CLASSES_PLOT = "classes.png"


def write_report(comparison: Comparison, outcomes: Sequence[Outcome], origin: Origin) -> list[Path]:
    """Write all files anew, each atomically; the pictures only once there is a score. Gives their paths.

    ``comparison.json`` holds everything, ``comparison.csv`` a line per variant, ``runs.csv`` one per run,
    ``comparison.md`` the tables, ``comparison.png`` and ``classes.png`` the pictures.

    Raises:
        OutputError: They cannot be written.
        MissingExtraError: Matplotlib is not installed.
    """
    out, rows = comparison.out, rows_of(comparison, outcomes)
    texts = {
        comparison.document: json.dumps(to_dict(comparison, outcomes, origin), indent=2, ensure_ascii=False),
        out / "comparison.csv": csv_text(_row_values(comparison, row) for row in rows),
        out / "runs.csv": csv_text(_run_values(outcome, comparison.subject) for outcome in outcomes),
        out / "comparison.md": to_markdown(comparison, outcomes, origin),
    }
    for path, text in texts.items():
        write_text(path, text.rstrip("\n") + "\n")
    scored = [row for row in rows if row.miou]
    if not scored:
        return [*texts]
    plot_scores(out / SCORES_PLOT, rows, _title(comparison))
    plot_classes(out / CLASSES_PLOT, scored, "IoU by class, points, mean over seeds")
    return [*texts, out / SCORES_PLOT, out / CLASSES_PLOT]


def to_dict(comparison: Comparison, outcomes: Sequence[Outcome], origin: Origin) -> dict[str, Any]:
    """All of it as plain JSON values."""
    return {
        "subject": comparison.subject,
        "variants": {name: dict(settings) for name, settings in comparison.variants.items()},
        "seeds": list(comparison.seeds),
        "planned_runs": len(comparison.runs),
        **asdict(origin),
        "edgeseg": __version__,
        "recipe": comparison.common(),
        "rows": [_row_values(comparison, row) for row in rows_of(comparison, outcomes)],
        "runs": [_run_values(outcome, comparison.subject) for outcome in outcomes],
    }


def to_markdown(comparison: Comparison, outcomes: Sequence[Outcome], origin: Origin) -> str:
    """The tables, with what a reader needs to judge and to repeat them."""
    rows, classes = rows_of(comparison, outcomes), class_names(outcomes)
    sections = [f"# {_title(comparison)}", f"`{origin.command}`", _conditions(comparison, outcomes, origin)]
    if rows:
        sections.append(markdown_table(headline(comparison), [headline_cells(comparison, r) for r in rows]))
    if classes:
        per_class = [[row.variant, *(_mean(row.class_iou[name]) for name in classes)] for row in rows]
        sections += [
            f"![mIoU of every seed, and the time of an epoch]({SCORES_PLOT})",
            "## IoU by class, mean over seeds",
            markdown_table([comparison.subject, *classes], per_class),
            f"![IoU by class]({CLASSES_PLOT})",
        ]
    if outcomes:
        header = ["run", "mIoU", "mean Dice", "best epoch", "epochs", "minutes", "s/epoch"]
        sections += ["## Runs", markdown_table(header, [_run_cells(o) for o in outcomes])]
    failures = [f"- {o.run.name}: {o.failure}" for o in outcomes if o.failure]
    if failures:
        sections += ["## Runs without a score", "\n".join(failures)]
    sections += ["## Variants", "\n".join(_variant_lines(comparison))] if _has_settings(comparison) else []
    return "\n\n".join([*sections, "## Recipe", f"```yaml\n{_changed(comparison)}```"]) + "\n"


def headline(comparison: Comparison) -> list[str]:
    """The header of the main table."""
    size = ["million parameters"] if comparison.subject == "model" else []
    return [comparison.subject, "runs", "mIoU", "mean Dice", *size, "min/run", "s/epoch"]


def headline_cells(comparison: Comparison, row: Row) -> list[str]:
    """A row of the main table."""
    planned = sum(run.variant == row.variant for run in comparison.runs)
    failed = f", {len(row.failed)} failed" if row.failed else ""
    parameters = next((o.parameters for o in row.scored if o.parameters), None)
    size = [f"{parameters / 1e6:.2f}" if parameters else "n/a"] if comparison.subject == "model" else []
    return [
        row.variant,
        f"{len(row.scored)} of {planned}{failed}",
        row.miou.in_points() if row.miou else "n/a",
        row.mean_dice.in_points() if row.mean_dice else "n/a",
        *size,
        f"{row.seconds / 60:.1f}" if row.seconds is not None else "n/a",
        f"{row.epoch_seconds:.1f}" if row.epoch_seconds is not None else "n/a",
    ]


def _title(comparison: Comparison) -> str:
    recipe = comparison.base
    what = "Losses" if comparison.subject == "loss" else "Models"
    trained = f", {recipe.model}" if comparison.subject == "loss" else f", loss {recipe.loss}"
    data = recipe.data.partition(":")[0]
    return f"{what} on {data} {recipe.val_split}{trained}, {recipe.height}x{recipe.width}"


def _conditions(comparison: Comparison, outcomes: Sequence[Outcome], origin: Origin) -> str:
    done, planned = len(outcomes), len(comparison.runs)
    seeds = ", ".join(map(str, comparison.seeds))
    unfinished = "" if done == planned else f" **Not finished: {done} of {planned} runs are over.**"
    spread = (
        "± is the sample standard deviation over seeds"
        if len(comparison.seeds) >= 3
        else "in brackets are the lowest and the highest seed, for fewer than three have no deviation"
    )
    precisions = ", ".join(sorted({o.precision for o in outcomes if o.precision}))
    return (
        f"{origin.machine}{f'; {precisions}' if precisions else ''}. Every run has the recipe below; beside "
        f"the seed they differ in {_differences(comparison)}. Seeds {seeds}; {spread}.{unfinished}\n\n"
        "Scores are in points at label resolution, of each run's best epoch; that epoch was chosen on the "
        f"same split, {comparison.base.val_split}. A difference within the spreads is none that this "
        "comparison can show. That each run was trained with its own loss was checked: its files say so, and "
        "the validation loss that it recorded is what that loss gives on its checkpoint."
    )


def _differences(comparison: Comparison) -> str:
    """The recipe's fields that make the variants, as ``--set`` names them."""
    fields = {key: None for settings in comparison.variants.values() for key in settings}
    return " and ".join(f"`{field}`" for field in fields)


def _changed(comparison: Comparison) -> str:
    values = comparison.base.model_dump(
        mode="json", exclude_defaults=True, exclude={comparison.subject, "seed", "workers"}
    )
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _has_settings(comparison: Comparison) -> bool:
    return any({*settings} != {comparison.subject} for settings in comparison.variants.values())


def _variant_lines(comparison: Comparison) -> list[str]:
    return [
        f"- {name}: " + ", ".join(f"`{key}={value}`" for key, value in settings.items())
        for name, settings in comparison.variants.items()
    ]


def _run_cells(outcome: Outcome) -> list[str]:
    return [
        outcome.run.name,
        points(outcome.miou),
        points(outcome.mean_dice),
        str(outcome.best_epoch or "n/a"),
        str(outcome.epochs),
        f"{outcome.seconds / 60:.1f}",
        f"{outcome.epoch_seconds:.1f}",
    ]


def _mean(spread: Spread | None) -> str:
    return points(spread.mean if spread else None)


def _row_values(comparison: Comparison, row: Row) -> dict[str, Any]:
    scores = {"miou": row.miou, "mean_dice": row.mean_dice}
    scores |= {f"iou {name}": spread for name, spread in row.class_iou.items()}
    return {
        comparison.subject: row.variant,
        "runs": len(row.scored),
        "failed": len(row.failed),
        "seconds": row.seconds,
        "epoch_seconds": row.epoch_seconds,
        **{key: value for name, spread in scores.items() for key, value in _spread_values(name, spread)},
    }


def _spread_values(name: str, spread: Spread | None) -> list[tuple[str, float | None]]:
    if spread is None:
        return [(f"{name} {what}", None) for what in ("mean", "deviation", "min", "max")]
    return [
        (f"{name} mean", spread.mean),
        (f"{name} deviation", spread.deviation),
        (f"{name} min", min(spread.values)),
        (f"{name} max", max(spread.values)),
    ]


def _run_values(outcome: Outcome, subject: str) -> dict[str, Any]:
    check = outcome.loss_check
    return {
        subject: outcome.run.variant,
        "seed": outcome.run.recipe.seed,
        "recipe_hash": outcome.run.recipe.hash(),
        "miou": outcome.miou,
        "mean_dice": outcome.mean_dice,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
        "epoch_seconds": outcome.epoch_seconds,
        "val_loss_recorded": check.recorded if check else None,
        "val_loss_recomputed": check.recomputed if check else None,
        "failure": outcome.failure,
        **{f"iou {name}": iou for name, iou in (outcome.class_iou or {}).items()},
    }
