"""``edgeseg predict``: masks and overlays of images, folders and videos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseg.cli.options import (
    BundleArgument,
    PrecisionOption,
    RuntimeOption,
    ThreadsOption,
    TrustedKeysOption,
)

if TYPE_CHECKING:
    from edgeseg.camera import ImageFolder, Source
    from edgeseg.segmenter import Segmentation, Segmenter


def predict(
    bundle: BundleArgument,
    source: Annotated[str, typer.Argument(help="An image, a folder of images, or a video.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.  [default: runs/predict/SOURCE]")
    ] = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    require_signature: TrustedKeysOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write for each picture NAME.png, its class ids, and NAME_overlay.jpg.

    The frames of a video are named by their number. For one overlay video of it, use 'edgeseg run' with
    --every-frame --sink FILE.mp4.
    """
    from edgeseg.camera import ImageFolder, open_source
    from edgeseg.cli.console import done, note, print_json
    from edgeseg.segmenter import load

    _refuse_live(source)
    folder = out or Path("runs") / "predict" / Path(source).stem
    with load(
        bundle,
        runtime=runtime,
        threads=threads,
        precision=precision,
        trusted_keys=require_signature or None,
        isolate=True,
    ) as segmenter:
        frames = open_source(source)
        try:
            if isinstance(frames, ImageFolder):
                written = _predict_images(segmenter, frames, Path(source), folder)
            else:
                written = _predict_video(segmenter, frames, folder)
        finally:
            frames.close()
        note(segmenter.build_note)
    if json:
        print_json(written)
    done(folder, f"edgeseg run {bundle} --source CAMERA_OR_VIDEO --sink overlay.mp4")


def _predict_images(
    segmenter: Segmenter, images: ImageFolder, source: Path, folder: Path
) -> list[dict[str, Any]]:
    from edgeseg.camera import read_image
    from edgeseg.cli.console import track

    _check_names(images.paths, source, folder)
    written = []
    for path in track(images.paths, "Predicting", len(images.paths)):
        segmentation = segmenter(read_image(path))
        written.append(_save(segmentation, folder / f"{path.stem}.png", str(path)))
    return written


def _predict_video(segmenter: Segmenter, video: Source, folder: Path) -> list[dict[str, Any]]:
    from edgeseg.cli.console import track

    written = []
    for frame in track(iter(video.read, None), "Predicting", video.frame_count):
        path = folder / f"{frame.index:06d}.png"
        written.append(_save(segmenter(frame.image), path, f"{video.name}#{frame.index}"))
    return written


def _save(segmentation: Segmentation, path: Path, source: str) -> dict[str, Any]:
    mask, overlay = segmentation.save(path)
    return {
        "source": source,
        "mask": str(mask),
        "overlay": str(overlay),
        "shares": {name: round(share, 4) for name, share in segmentation.shares().items()},
    }


def _refuse_live(source: str) -> None:
    from edgeseg.camera import is_live, without_password
    from edgeseg.errors import UsageError

    if is_live(source):
        raise UsageError(
            without_password(source),
            expected="an image, a folder of images or a video, which end",
            found="a camera or stream",
            next_step="Use 'edgeseg run' with --source for it.",
        )


def _check_names(paths: list[Path], source: Path, folder: Path) -> None:
    """No result may take the place of another, nor of an image."""
    from collections import Counter

    from edgeseg.errors import UsageError

    home = source if source.is_dir() else source.parent
    if folder.resolve() == home.resolve():
        raise UsageError(
            "--out",
            expected="another folder than that of the images",
            found=str(folder),
            next_step="Name another one: the masks would overwrite images of the same name.",
        )
    stem, count = Counter(path.stem for path in paths).most_common(1)[0]
    if count > 1:
        raise UsageError(
            source,
            expected="images whose names differ in more than their suffix",
            found=f"{count} named {stem}",
            next_step="Rename them: each result is named after its image.",
        )
