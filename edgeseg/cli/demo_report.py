"""The page that ``edgeseg demo`` leaves: what its steps gave, put together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseg.benchmarks.report import Headline, ModelScore, Picture
    from edgeseg.benchmarks.results import BenchmarkResult, ModelResult
    from edgeseg.cli.demo_steps import Demo
    from edgeseg.export.pipeline import ExportResult
    from edgeseg.loop import LoopReport
    from edgeseg.training.fit import TrainResult

OVERLAYS = 4


def report_of(
    demo: Demo,
    trained: TrainResult,
    bundles: Sequence[ExportResult],
    benchmark: BenchmarkResult,
    loops: Sequence[tuple[str, LoopReport]],
) -> Path:
    """Write ``report.html`` and give its path."""
    from edgeseg.benchmarks.output import ACCURACY_PLOT
    from edgeseg.benchmarks.report import LoopFacts, Picture, Report, write_report

    run = trained.folder
    grid = sorted((run.path / "predictions").glob("epoch-*.png"))[-1]
    best = trained.summary["best_epoch"]
    page = demo.out / "report.html"
    report = Report(
        title="edgeseg demo",
        lead="From drawn street scenes to the camera loop, on this machine.",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headlines=_headlines(trained, bundles, benchmark, loops),
        training=(Picture(run.curves, f"Losses and mIoU of each epoch; epoch {best} is the best."),),
        predictions=(Picture(grid, "Validation scenes after the last epoch: image, truth, prediction."),),
        confusion=Picture(run.confusion, "Where the pixels of each true class went, at label resolution."),
        scores=_scores(trained, bundles, benchmark),
        benchmark=benchmark,
        plots=(
            Picture(
                demo.out / "benchmark" / ACCURACY_PLOT,
                "Accuracy against latency: further up and to the left is better.",
            ),
        ),
        loops=tuple(LoopFacts.of(name, loop) for name, loop in loops),
        overlays=_overlays(demo.video),
        video=demo.video,
        environment={"precision of training": trained.summary["precision"]},
        not_measured={
            "real roads": "the scenes are drawn; their figures say nothing about a camera on a road",
            "TensorRT": "the Jetson bundle's ONNX ran in ONNX Runtime; no engine was built",
        },
        commands=tuple(demo.commands),
    )
    write_report(page, report)
    return page


def _headlines(
    trained: TrainResult,
    bundles: Sequence[ExportResult],
    benchmark: BenchmarkResult,
    loops: Sequence[tuple[str, LoopReport]],
) -> tuple[Headline, ...]:
    from edgeseg.benchmarks.report import Headline

    int8 = bundles[0].manifest.models[0].beside_keras
    fastest = min(benchmark.models, key=lambda b: b.latency.total.p50)
    paced = loops[-1][1]
    seconds = trained.summary["seconds"]
    return (
        Headline(
            "mIoU of Keras", f"{100 * trained.summary['miou']:.1f}", f"label resolution, {seconds:.0f} s"
        ),
        Headline("Lost by int8", f"{int8.drop_points:+.2f}", f"points of mIoU, over {int8.samples} scenes"),
        Headline(
            "Fastest", f"{fastest.latency.total.p50:.1f} ms", f"{fastest.subject.name}, p50, whole path"
        ),
        Headline("Oldest mask", f"{paced.age.max:.0f} ms", "in the loop at 25 fps, capture to mask"),
    )


def _scores(
    trained: TrainResult, bundles: Sequence[ExportResult], benchmark: BenchmarkResult
) -> tuple[ModelScore, ...]:
    from edgeseg.benchmarks.report import ModelScore

    keras = trained.summary["evaluation"]["label_resolution"]
    versions = trained.summary["versions"]
    first = ModelScore(
        name="Keras, best checkpoint",
        runtime=f"keras {versions['keras']}, {versions['backend']}",
        miou=keras["miou"],
        class_iou={name: scores["iou"] for name, scores in keras["per_class"].items()},
        size_mib=trained.folder.best.stat().st_size / 2**20,
    )
    return (first, *(_score(e, b) for e, b in zip(bundles, benchmark.models, strict=True)))


def _score(exported: ExportResult, measured: ModelResult) -> ModelScore:
    from edgeseg.benchmarks.report import ModelScore

    model = exported.manifest.models[0]
    accuracy = measured.accuracy.to_dict()["label_resolution"] if measured.accuracy else {}
    loaded = measured.latency.loaded
    return ModelScore(
        name=f"{exported.manifest.name}, {model.precision}",
        runtime=f"{loaded.runtime}, {loaded.threads} threads",
        miou=model.beside_keras.miou,
        class_iou={name: scores["iou"] for name, scores in accuracy.get("per_class", {}).items()},
        drop_points=model.beside_keras.drop_points,
        agreement=model.beside_keras.agreement,
        size_mib=measured.subject.size_mib,
    )


def _overlays(video: Path) -> tuple[Picture, ...]:
    """Frames of the finished video itself, spread over it."""
    from edgeseg.benchmarks.report import Picture
    from edgeseg.camera import VideoFile

    source = VideoFile(video)
    try:
        frames = []
        while (frame := source.read()) is not None:
            frames.append(frame)
    finally:
        source.close()
    wanted = [frames[(2 * i + 1) * len(frames) // (2 * OVERLAYS)] for i in range(OVERLAYS)]
    return tuple(Picture(f.image, f"Frame {f.index + 1} of {len(frames)}") for f in wanted)
