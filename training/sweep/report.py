"""A sweep's files: its numbers as JSON, CSV and Markdown, the winner's recipe, and its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from edgeseg import __version__
from edgeseg.atomic import write_text
from edgeseg.tables import markdown_table, points
from edgeseg.training.documents import Origin, csv_text
from edgeseg.training.recipe import Recipe
from edgeseg.training.sweep.plan import settings_text, short
from edgeseg.training.sweep.plots import plot_front, plot_history, plot_importance, plot_values
from edgeseg.training.sweep.results import Result, Results, fields_of

HISTORY_PLOT, VALUES_PLOT = "history.png", "values.png"
IMPORTANCE_PLOT, FRONT_PLOT = "importance.png", "front.png"
_LATENCY = (
    "Latency is the median of the whole path of the trial's int8 bundle; its mIoU is the Keras model's."
)


def write_report(results: Results, origin: Origin) -> list[Path]:
    """Write all files anew, each atomically; gives their paths.

    ``trials.csv`` has a line for each trial, ``sweep.md`` the table with the pictures, ``best.yaml`` the
    winner's recipe as ``train --recipe`` takes it. Pictures come once there is something to draw.

    Raises:
        OutputError: They cannot be written.
        MissingExtraError: Matplotlib is not installed.
    """
    sweep, out = results.sweep, results.sweep.out
    pictures = _draw(results)
    texts = {
        out / "trials.csv": csv_text(_values(results, result) for result in results.trials),
        out / "sweep.md": to_markdown(results, origin, [path.name for path in pictures]),
    }
    if results.best:
        texts[sweep.best] = _recipe(results, results.best).to_yaml()
    for path, text in texts.items():
        write_text(path, text)
    return [*texts, *pictures]


def to_dict(results: Results, origin: Origin) -> dict[str, Any]:
    """All of it as plain JSON values."""
    sweep = results.sweep
    return {
        **asdict(origin),
        "edgeseg": __version__,
        "folder": str(sweep.out),
        "space": [str(parameter) for parameter in sweep.space],
        "objectives": list(sweep.objectives),
        "pruner": sweep.pruner,
        "planned_trials": sweep.trials,
        "recipe": sweep.base.model_dump(mode="json"),
        "best": results.best.name if results.best else None,
        "front": [result.name for result in results.trials if result.leads],
        "importance": dict(results.importance),
        "trials": [_values(results, result) for result in results.trials],
    }


def to_markdown(results: Results, origin: Origin, pictures: Sequence[str]) -> str:
    """The table, with what a reader needs to judge and to repeat it."""
    sweep = results.sweep
    sections = [
        f"# {title(results)}",
        f"`{sweep.command or origin.command}`",
        _conditions(results, origin),
        markdown_table(header(results), [cells(results, result) for result in results.ranked()]),
        *(f"![{name.removesuffix('.png')}]({name})" for name in pictures),
    ]
    failures = [f"- {r.name}: {r.trial.failure}" for r in results.trials if r.trial.failure]
    sections += ["## Trials that failed", "\n".join(failures)] if failures else []
    fixed = sweep.base.model_dump(mode="json", exclude_defaults=True, exclude={"workers", *fields_of(sweep)})
    text = yaml.safe_dump(fixed, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return "\n\n".join([*sections, "## Recipe, beside what was varied", f"```yaml\n{text}```"]) + "\n"


def title(results: Results) -> str:
    """What was swept, in a line; of the model and the size only what all trials share."""
    recipe, varied = results.sweep.base, fields_of(results.sweep)
    model = "models" if "model" in varied else recipe.model
    size = "" if "size" in varied else f", {recipe.height}x{recipe.width}"
    return f"Sweep of {model} on {recipe.data.partition(':')[0]} {recipe.val_split}{size}"


def header(results: Results) -> list[str]:
    """The table's header."""
    latency = ["int8 ms"] if "latency" in results.sweep.objectives else []
    return ["trial", "mIoU", *latency, *fields_of(results.sweep), "epochs", "seconds", "state"]


def cells(results: Results, result: Result) -> list[str]:
    """A row of the table."""
    values, params = result.trial.values, result.trial.params
    latency = [f"{values['latency']:.2f}" if "latency" in values else "n/a"]
    lead = "**best**" if len(results.sweep.objectives) == 1 else "**front**"
    return [
        result.name,
        points(result.miou),
        *(latency if "latency" in results.sweep.objectives else []),
        *(short(params.get(field, "")) for field in fields_of(results.sweep)),
        str(len(result.epochs)),
        f"{result.seconds:.0f}",
        f"{result.trial.state}, {lead}" if result.leads else result.trial.state,
    ]


def _draw(results: Results) -> list[Path]:
    out, drawn = results.sweep.out, []
    if any(result.epochs for result in results.trials):
        plot_history(out / HISTORY_PLOT, results, title(results))
        drawn.append(HISTORY_PLOT)
    if results.best:
        plot_values(out / VALUES_PLOT, results)
        drawn.append(VALUES_PLOT)
    if results.importance:
        plot_importance(out / IMPORTANCE_PLOT, results)
        drawn.append(IMPORTANCE_PLOT)
    if results.best and "latency" in results.sweep.objectives:
        plot_front(out / FRONT_PLOT, results, title(results))
        drawn.append(FRONT_PLOT)
    return [out / name for name in drawn]


def _conditions(results: Results, origin: Origin) -> str:
    sweep = results.sweep
    over = sum(result.trial.state != "unfinished" for result in results.trials)
    counts = ", ".join(f"{count} {state}" for state, count in results.counts().items())
    unfinished = "" if over >= sweep.trials else f" **Not finished: {over} of {sweep.trials} are over.**"
    space = ", ".join(f"`{parameter}`" for parameter in sweep.space)
    best = results.best
    winner = f"\n\nBest: {best.name}, {settings_text(best.trial.params)}." if best else ""
    latency = f" {_LATENCY}" if "latency" in sweep.objectives else ""
    return (
        f"{origin.machine}. Varied: {space}. Pruner {sweep.pruner}, seed {sweep.seed}; trials: {counts}."
        f"{unfinished}\n\nmIoU is in points at label resolution, of each trial's best epoch; that epoch was "
        f"chosen on the same split, {sweep.base.val_split}, and so is the winner: that flatters its score."
        f"{latency}{winner}"
    )


def _recipe(results: Results, result: Result) -> Recipe:
    return results.sweep.recipe(results.sweep.settings(result.trial.params))


def _values(results: Results, result: Result) -> dict[str, Any]:
    return {
        "trial": result.name,
        "state": result.trial.state,
        "leads": int(result.leads),
        **{name: result.trial.values.get(name) for name in results.sweep.objectives},
        **{field: result.trial.params.get(field) for field in fields_of(results.sweep)},
        "epochs": len(result.epochs),
        "best_val_miou": result.last_miou,
        "seconds": result.seconds,
        "failure": result.trial.failure,
    }
