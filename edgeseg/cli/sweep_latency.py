"""The latency that a sweep weighs against mIoU: an int8 bundle of the trial, timed as ``benchmark`` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.training.run_folder import RunFolder

# No gate: what a trial's int8 loses is for the export of the winner to judge, and to mend.
_ANY_DROP = 100.0
_SAMPLES = 64
_FRAMES, _ROUNDS, _WARMUP = 300, 5, 30


def int8_latency(folder: RunFolder) -> float:
    """Milliseconds, the median of the whole path from a frame to its class map, on this machine.

    Leaves ``int8.edgeseg`` and ``benchmark.json`` in the run folder.

    Raises:
        MissingExtraError: What exports or LiteRT is not installed.
        ConversionError: The model cannot be brought to int8.
        BundleError, InferenceError: The bundle does not run.
    """
    bundle = _exported(folder)
    from edgeseg.benchmarks.contenders import contenders_of
    from edgeseg.benchmarks.latency import Options
    from edgeseg.benchmarks.measure import benchmark_models, check_complete
    from edgeseg.benchmarks.output import write_numbers
    from edgeseg.cli.benchmark import timed_frames
    from edgeseg.cli.console import command_line
    from edgeseg.training.data import open_dataset
    from edgeseg.training.recipe import make_recipe, read_recipe

    options = Options(frames=_FRAMES, rounds=_ROUNDS, warmup=_WARMUP, cold_starts=1)
    contenders = contenders_of([bundle], [options.threads])
    recipe = make_recipe(read_recipe(folder.recipe))
    # The data's own images, so that trials of different sizes all begin with the same frames.
    frames = timed_frames(contenders, open_dataset(recipe.data), recipe.val_split, None)
    result = benchmark_models(contenders, frames, options, command=command_line())
    write_numbers(result, folder.path)
    check_complete(result)
    return result.models[0].latency.total.p50


def _exported(folder: RunFolder) -> Path:
    from edgeseg.export.pipeline import export_model
    from edgeseg.export.plan import ExportOptions

    options = ExportOptions(
        target="arm",
        precision="int8",
        max_drop_points=_ANY_DROP,
        max_class_drop_points=_ANY_DROP,
        samples=_SAMPLES,
        calibration_samples=_SAMPLES,
        qat_steps=0,
        out=folder.path / "int8.edgeseg",
    )
    return export_model(folder.best, None, options).path
