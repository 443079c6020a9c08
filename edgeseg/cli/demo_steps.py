"""The steps of ``edgeseg demo``, each one the function behind a verb."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import UsageError

if TYPE_CHECKING:
    from edgeseg.benchmarks.results import BenchmarkResult
    from edgeseg.export.pipeline import ExportResult
    from edgeseg.loop import LoopReport
    from edgeseg.training.fit import TrainResult

MARKER = ".edgeseg-demo"
SCENE_SIZE = (256, 512)
MODEL_SIZE = (128, 256)
CHANNELS = 16
VIDEO_FRAMES = 150
VIDEO_SIZE = (360, 640)
EXPORTS = (("arm", "int8"), ("x86", "fp32"), ("jetson", "fp16"))


class Demo:
    """One demo: where it writes, how large it is, and its steps in order."""

    def __init__(self, out: Path, *, epochs: int, scenes: int, seed: int, threads: int) -> None:
        self.out = out
        self.threads = threads
        self.data = f"synthetic:train={scenes},val={scenes // 4},size={_text(SCENE_SIZE)},seed={seed}"
        self.commands: list[str] = []
        self._epochs, self._seed = epochs, seed

    @property
    def video(self) -> Path:
        return self.out / "overlay.mp4"

    def make_folder(self) -> None:
        """An empty folder to write to, that a later demo may empty again."""
        foreign = self.out.is_dir() and any(self.out.iterdir()) and not (self.out / MARKER).is_file()
        if foreign or (self.out.exists() and not self.out.is_dir()):
            raise UsageError(
                f"--out {self.out}",
                expected="a new or empty folder, or the folder of an earlier demo",
                found="a folder with other things in it" if foreign else "a file",
                next_step="Name another one.",
            )
        if self.out.exists():
            shutil.rmtree(self.out)
        self.out.mkdir(parents=True)
        (self.out / MARKER).touch()

    def train(self) -> TrainResult:
        """U-Net Mini of half the usual width, so that it takes a minute or two."""
        from edgeseg.cli.training_half import training_half

        with training_half("edgeseg demo"):
            from edgeseg.training.fit import train
            from edgeseg.training.recipe import make_recipe
        from edgeseg.cli.training_progress import TrainingProgress

        size, options = _text(MODEL_SIZE), f"model_options.channels={CHANNELS}"
        self._say(
            "Training U-Net Mini",
            f"edgeseg train --model unet_mini --set {options} --data {self.data} "
            f"--size {size} --epochs {self._epochs} --seed {self._seed} --out {self.out}/train",
        )
        recipe = make_recipe(
            {
                "data": self.data,
                "model": "unet_mini",
                "model_options": {"channels": CHANNELS},
                "size": list(MODEL_SIZE),
                "epochs": self._epochs,
                "seed": self._seed,
            }
        )
        with TrainingProgress() as progress:
            return train(recipe, self.out / "train", [progress])

    def evaluate(self, trained: TrainResult) -> None:
        """The scores of the best checkpoint, per class."""
        from edgeseg.cli.evaluate import evaluate

        folder = self.out / "evaluate"
        self._say("Evaluating", f"edgeseg evaluate {trained.folder.best} --out {folder}")
        evaluate(trained.folder.best, out=folder)

    def export(self, trained: TrainResult) -> list[ExportResult]:
        """One bundle for each of ``EXPORTS``, each with its gate."""
        from edgeseg.cli.console import progress_bar
        from edgeseg.export.pipeline import export_model
        from edgeseg.export.plan import ExportOptions

        results = []
        for target, precision in EXPORTS:
            self._say(
                f"Exporting for {target}, {precision}",
                f"edgeseg export {trained.folder.best} --target {target} --precision {precision} "
                f"--out {self.out}/bundles",
            )
            options = ExportOptions(target=target, precision=precision, out=self.out / "bundles")
            results.append(export_model(trained.folder.best, None, options, progress_bar))
        return results

    def verify(self, trained: TrainResult, bundles: Sequence[ExportResult]) -> None:
        """Every check again, as on the day of the delivery."""
        from edgeseg.cli.console import console, progress_bar
        from edgeseg.export.verify import Check, VerifyOptions, verify_bundle

        def show(check: Check) -> None:
            line = f"  {check.state}: {check.name} of {check.subject}: {check.seen}"
            console.print(line, markup=False, soft_wrap=True)

        for bundle in bundles:
            self._say(
                f"Verifying {bundle.path.name}",
                f"edgeseg verify {bundle.path} --against {trained.folder.best}",
            )
            verify_bundle(bundle.path, VerifyOptions(against=trained.folder.best), show, progress_bar)

    def benchmark(self, bundles: Sequence[ExportResult]) -> BenchmarkResult:
        """Latency, memory, cold start and accuracy of all bundles beside one another."""
        from edgeseg.benchmarks.contenders import contenders_of
        from edgeseg.benchmarks.latency import Options
        from edgeseg.benchmarks.measure import benchmark_models
        from edgeseg.benchmarks.output import write_numbers, write_pictures
        from edgeseg.cli.benchmark import labelled_split, timed_frames
        from edgeseg.cli.console import progress_bar
        from edgeseg.training.data import open_dataset

        paths = " ".join(str(bundle.path) for bundle in bundles)
        settings = f"--data {self.data} --threads {self.threads} --out {self.out}/benchmark"
        command = f"edgeseg benchmark {paths} {settings}"
        self._say("Benchmarking", command)
        dataset = open_dataset(self.data)
        contenders = contenders_of([bundle.path for bundle in bundles], [self.threads])
        result = benchmark_models(
            contenders,
            timed_frames(contenders, dataset, "val", None),
            Options(threads=self.threads),
            command=command,
            labelled=labelled_split(dataset, "val", None),
            progress=progress_bar,
        )
        write_numbers(result, self.out / "benchmark")
        write_pictures(result, self.out / "benchmark")
        return result

    def loop(self, bundles: Sequence[ExportResult]) -> list[tuple[str, LoopReport]]:
        """A drawn drive through the loop: every frame into the overlay video, then paced like a camera."""
        from edgeseg.cli.console import progress_bar
        from edgeseg.training.data.synthetic import synthetic_video

        drive = self.out / "drive.mp4"
        with progress_bar("Drawing a drive") as advance:
            synthetic_video(drive, VIDEO_FRAMES, VIDEO_SIZE, seed=self._seed, on_progress=advance)
        bundle = bundles[0].path
        self._say(
            "Running the loop, every frame",
            f"edgeseg run {bundle} --source {drive} --sink {self.video} --every-frame",
        )
        every = self._run_loop(bundle, drive, str(self.video), every_frame=True)
        self._say("Running the loop, paced like a camera", f"edgeseg run {bundle} --source {drive}")
        paced = self._run_loop(bundle, drive, None, every_frame=False)
        return [("every frame", every), ("newest frame wins, 25 fps", paced)]

    def _run_loop(self, bundle: Path, drive: Path, sink: str | None, *, every_frame: bool) -> LoopReport:
        from edgeseg.cli.console import progress_bar
        from edgeseg.loop import LoopPlan, run_loop, stop_on_signals

        sinks = (sink,) if sink else ()
        plan = LoopPlan(str(bundle), str(drive), sinks, every_frame=every_frame, threads=self.threads)
        with progress_bar("Segmenting") as advance, stop_on_signals() as stop:
            report = run_loop(
                plan, on_status=lambda status: advance(status.position + 1, VIDEO_FRAMES), stop=stop
            )
        if report.error:
            raise report.error
        if report.ended == "stopped":
            raise KeyboardInterrupt
        advance(VIDEO_FRAMES, VIDEO_FRAMES)
        return report

    def _say(self, step: str, command: str) -> None:
        from edgeseg.cli.console import console

        self.commands.append(command)
        console.print(f"\n[bold]{step}[/bold]")
        console.print(f"  $ {command}", markup=False, soft_wrap=True, style="dim")


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
