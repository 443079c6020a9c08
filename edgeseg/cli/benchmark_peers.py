"""``edgeseg benchmark-peers``: one Keras model in every runtime, as others run it and as edgeseg does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.export_options import CheckpointArgument, DataOption

if TYPE_CHECKING:
    from edgeseg.benchmarks.contenders import Contender
    from edgeseg.export.peers import Frames, PeerFile
    from edgeseg.export.source import Source

# Format and precision of each bundle, with the target whose machines run it.
_BUNDLES = (
    ("arm", "litert", "fp32"),
    ("arm", "litert", "int8"),
    ("x86", "onnx", "fp32"),
    ("x86", "onnx", "int8"),
    ("x86", "openvino", "fp32"),
    ("x86", "openvino", "bf16"),
    ("x86", "openvino", "int8"),
)
_FEW_CALIBRATION = 64


def benchmark_peers(
    checkpoint: CheckpointArgument,
    data: DataOption = None,
    samples: Annotated[int, typer.Option(min=1, help="Score on the first so many samples only.")] = 256,
    frames: Annotated[int, typer.Option(help="Timed frames of each.")] = 300,
    rounds: Annotated[int, typer.Option(help="Turns that each takes.")] = 10,
    threads: Annotated[int, typer.Option(help="Threads of the runtime and of OpenCV.")] = 2,
    max_drop: Annotated[
        float, typer.Option(help="Points of mIoU that edgeseg's int8 may lose; over it, it is left out.")
    ] = 2.0,
    out: Annotated[Path, typer.Option(help="Folder for files and tables.")] = Path("runs/benchmark/peers"),
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure Keras predict, tf.function, LiteRT, ONNX Runtime, OpenVINO as others use them, and edgeseg.

    Every file is made of the one checkpoint, the peers' by each tool's own converter with its defaults. All
    run in processes of their own, in rounds that take turns, on the same frames.
    """
    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.latency import Options
    from edgeseg.benchmarks.measure import benchmark_models, check_complete
    from edgeseg.benchmarks.output import write_numbers
    from edgeseg.benchmarks.peers import HEADER, Peers, write_peers
    from edgeseg.cli.benchmark import draw, labelled_split, timed_frames
    from edgeseg.cli.console import command_line, done, note, print_json, print_table, progress_bar
    from edgeseg.export.peers import peer_files
    from edgeseg.export.source import open_source

    options = Options(frames, rounds, threads=threads, cold_starts=1)
    check_writable(out)
    # Before anything is converted: its own work must not count as the machine's load.
    host = describe_host()
    source = open_source(checkpoint, data, None, progress_bar)
    split = source.measured_on.split
    files, failed = peer_files(source.model, _calibration(source), out / "peers", progress_bar)
    bundles, refused = _bundles(checkpoint, data, max_drop, out / "bundles")
    contenders = _contenders(checkpoint, files, bundles, threads)
    result = benchmark_models(
        contenders,
        timed_frames(contenders, source.dataset, split, None),
        options,
        command=command_line(),
        labelled=labelled_split(source.dataset, split, samples),
        host=host,
        progress=progress_bar,
        on_partial=lambda partial: write_numbers(partial, out),
    )
    peers = Peers(result, (*failed, *refused))
    write_numbers(result, out)
    write_peers(peers, out)
    draw(result, out, peers)
    if json:
        print_json(result.to_dict())
    else:
        print_table("Whole path, p50", HEADER, peers.rows())
    for text in [*peers.headlines(), *peers.notes, *result.marks]:
        note(text)
    done(out, f"edgeseg export {checkpoint} --target x86 --precision auto")
    check_complete(result)


def _calibration(source: Source) -> Frames:
    """Frames for the peers' own quantisers: as many as their guides use, of the training split."""
    from edgeseg.cli.console import progress_bar
    from edgeseg.export.converter import signature_of
    from edgeseg.export.selection import calibration_items, calibration_set

    signature = signature_of(source.model, "logits")
    items = calibration_items(source.dataset, source.train_split, _FEW_CALIBRATION)
    with progress_bar("Reading calibration images") as advance:
        found = calibration_set(
            source.dataset, source.train_split, items, signature.height, signature.width, advance
        )
    return found.frames


def _bundles(
    checkpoint: Path, data: str | None, max_drop: float, out: Path
) -> tuple[list[tuple[str, Path]], list[str]]:
    """``RUNTIME PRECISION`` and path of each bundle, and a sentence for each that could not be made."""
    from edgeseg.cli.console import progress_bar
    from edgeseg.errors import AccuracyGateError, ConversionError
    from edgeseg.export.pipeline import export_model
    from edgeseg.export.plan import ExportOptions

    made, refused = [], []
    for target, format_, precision in _BUNDLES:
        name, path = f"{format_} {precision}", out / f"{format_}-{precision}.edgeseg"
        if _is_made_of(path, checkpoint):
            made.append((name, path))
            continue
        options = ExportOptions(
            target=target,
            format=format_,
            precision=precision,
            max_drop_points=max_drop,
            max_class_drop_points=100.0,
            qat_steps=0,
            out=path,
        )
        try:
            result = export_model(checkpoint, data, options, progress_bar)
        except (AccuracyGateError, ConversionError) as error:
            refused.append(f"{name}, edgeseg: {error.found}")
            continue
        made.append((name, result.path))
    return made, refused


def _is_made_of(path: Path, checkpoint: Path) -> bool:
    """Whether a run before this one has exported that bundle already, of this very checkpoint."""
    from edgeseg.bundle import Bundle
    from edgeseg.export.source import file_sha256

    if not path.is_dir():
        return False
    return Bundle.open(path).manifest.lineage.keras_file_sha256 == file_sha256(checkpoint)


def _contenders(
    checkpoint: Path, files: Sequence[PeerFile], bundles: Sequence[tuple[str, Path]], threads: int
) -> list[Contender]:
    from edgeseg.benchmarks.contenders import Choice, Contender
    from edgeseg.benchmarks.loaders import BUNDLE, loader_of
    from edgeseg.bundle import Bundle

    here = f"{__package__}.keras_runner"
    contenders = [
        Contender("keras predict fp32, plain", checkpoint, f"{here}:open_runner", threads, Choice()),
        Contender("tf.function fp32, plain", checkpoint, f"{here}:open_tf_function", threads, Choice()),
    ]
    contenders += [
        Contender(
            f"{file.runtime} {file.precision}, plain",
            file.path,
            loader_of(file.path),
            threads,
            Choice(precision=file.precision),
        )
        for file in files
    ]
    contenders += [
        Contender(f"{name}, edgeseg", path, BUNDLE, threads, Choice(), Bundle.open(path))
        for name, path in bundles
    ]
    return contenders
