"""``edgeseg label``: masks of fleets of frames, in shards, on one machine or a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseg.cli.options import PrecisionOption, RuntimeOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.labelling.manifest import LabelManifest
    from edgeseg.labelling.run import Outcome, Workers
    from edgeseg.labelling.shards import Failure

_NAMED = 5

SourceArgument = Annotated[
    Path, typer.Argument(help="A folder of images and videos, with all below it, or one of them.")
]
FolderArgument = Annotated[Path, typer.Argument(help="Folder of the shards.", metavar="DEST")]
LabellerOption = Annotated[Path, typer.Option("--bundle", help="The bundle that labels, NAME.edgeseg.")]
ShardSizeOption = Annotated[int, typer.Option("--shard-size", min=1, help="Frames in a shard.")]
StrideOption = Annotated[
    int, typer.Option("--stride", min=1, help="Of a video, label each so-many-th frame.")
]


def label(
    source: SourceArgument,
    folder: FolderArgument,
    bundle: LabellerOption,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Label on this Ray cluster: HOST:PORT, auto, or local.  [default: in this process]",
            metavar="ADDRESS",
        ),
    ] = None,
    actors: Annotated[
        int | None, typer.Option(min=1, help="Models on the cluster.  [default: as many as it has room for]")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="Threads of each model.  [default: 1 with --ray, else as in predict]"),
    ] = None,
    shard_size: ShardSizeOption = 1000,
    stride: StrideOption = 1,
    keep_frames: Annotated[
        bool, typer.Option("--keep-frames", help="Keep each frame beside its mask, as JPEG.")
    ] = False,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    require_signature: TrustedKeysOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was done as one JSON document.")] = False,
) -> None:
    """Write the masks of all images and frames below SOURCE into shards in DEST, each frame once.

    The same command goes on with a job that was cut off. What cannot be read is listed in
    DEST/manifest.json, and the command then exits with 7 when all else is labelled.
    """
    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import done, print_json, progress_bar
    from edgeseg.labelling import run

    opened = Bundle.open(bundle, require_signature or None)
    plan = run.make_plan(
        opened,
        source,
        folder,
        runtime=runtime,
        precision=precision,
        shard_size=shard_size,
        stride=stride,
        with_frames=keep_frames,
    )
    with progress_bar("Videos and shards of images") as advance:
        outcome = run.label(plan, _workers(ray, actors, threads), advance)
    if json:
        print_json(_values(outcome))
    else:
        _show(outcome)
    _refuse_failures(outcome.manifest, folder)
    done(folder, f"edgeseg label-check {folder}")


def label_check(folder: FolderArgument) -> None:
    """Read every shard of a finished job: hashes, counts, each frame once, each mask whole."""
    from edgeseg.cli.console import done, track
    from edgeseg.errors import DataError
    from edgeseg.labelling.manifest import MANIFEST_FILE, LabelManifest, check_shards

    manifest = LabelManifest.read(folder / MANIFEST_FILE)
    found = track(check_shards(manifest, folder), "Shards", len(manifest.shards))
    faults = [fault for fault in found if fault]
    if faults:
        raise DataError(
            folder,
            expected=f"{manifest.frames} frames in {len(manifest.shards)} whole shards",
            found=_listed(faults),
            next_step="Give the command that wrote them again: it labels anew what is not whole.",
        )
    _show_manifest(manifest)
    done(folder)


def _workers(ray: str | None, actors: int | None, threads: int | None) -> Workers:
    from edgeseg.errors import UsageError
    from edgeseg.labelling.run import in_one_process
    from edgeseg.runtimes.choice import choose_threads

    if ray is None:
        if actors is not None:
            raise UsageError(
                "--actors",
                expected="--ray beside it",
                found=str(actors),
                next_step="Name the cluster: --ray HOST:PORT, or --ray local for this machine.",
            )
        return in_one_process(choose_threads(threads))
    from edgeseg.labelling.cluster import on_ray

    return on_ray(ray, actors, threads or 1)


def _values(outcome: Outcome) -> dict[str, Any]:
    manifest = outcome.manifest
    return {
        "frames": manifest.frames,
        "labelled_now": outcome.labelled,
        "seconds": round(outcome.seconds, 2),
        "working_seconds": round(outcome.working_seconds, 2),
        "mask_bytes": manifest.mask_bytes,
        "shard_bytes": sum(shard.size for shard in manifest.shards),
        "shards": len(manifest.shards),
        "workers": sorted({result.worker for result in outcome.results}),
        "failed": [failure.model_dump() for failure in manifest.failed],
    }


def _show(outcome: Outcome) -> None:
    from edgeseg.cli.console import note

    _show_manifest(outcome.manifest)
    workers = len({result.worker for result in outcome.results})
    note(
        f"{outcome.labelled} frames labelled now by {workers} worker{'s' * (workers != 1)} "
        f"in {outcome.seconds:.1f} s"
    )


def _show_manifest(manifest: LabelManifest) -> None:
    from edgeseg.cli.console import note

    size = sum(shard.size for shard in manifest.shards)
    note(f"{manifest.frames} frames in {len(manifest.shards)} shards, {size / 1e6:.1f} MB")
    for end in manifest.videos:
        if end.announced and end.decoded < end.announced:
            note(f"{end.source}: {end.announced} frames were promised, and {end.decoded} came")


def _refuse_failures(manifest: LabelManifest, folder: Path) -> None:
    from edgeseg.errors import SourceError
    from edgeseg.labelling.manifest import MANIFEST_FILE

    if not manifest.failed:
        return
    raise SourceError(
        folder / MANIFEST_FILE,
        expected="every image and video to be readable",
        found=_listed([_told(failure) for failure in manifest.failed]),
        next_step=f"All else is labelled, {manifest.frames} frames. "
        "Replace those files and label them into another folder.",
    )


def _told(failure: Failure) -> str:
    where = f"{failure.source} from frame {failure.frame} on" if failure.frame else failure.source
    return f"{where}: {failure.reason}"


def _listed(texts: list[str]) -> str:
    more = f"; and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return "; ".join(texts[:_NAMED]) + more
