"""The images and videos below a folder, in units of work whose order depends on names alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgeseg.camera import IMAGE_SUFFIXES
from edgeseg.errors import SourceError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")

Kind = Literal["images", "video"]


@dataclass(frozen=True)
class SourceFile:
    """One image or video.

    Args:
        name: Its path from the folder of the sources, with forward slashes.
        size: Bytes.
    """

    name: str
    size: int

    @property
    def is_video(self) -> bool:
        return self.name.lower().endswith(VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Unit:
    """What one worker labels at a time: one video, or at most a shard of images.

    Args:
        index: Its place among the units; its shards are named after it.
        kind: ``video`` or ``images``.
        names: The files, by :attr:`SourceFile.name`.
        size: Bytes of them together.
    """

    index: int
    kind: Kind
    names: tuple[str, ...]
    size: int


def find_sources(source: Path) -> tuple[Path, list[SourceFile]]:
    """The folder that names are told from, and every image and video in or below ``source``, by name.

    Hidden files and folders, and files of other kinds, are passed over. Links to files are followed, links to
    folders are not: they can lead in circles.

    Args:
        source: A folder, an image or a video.

    Raises:
        SourceError: It is missing, holds neither images nor videos, or a name in it is no Unicode.
    """
    if source.is_file():
        files = [SourceFile(source.name, source.stat().st_size)]
        root = source.parent
    else:
        root = source
        files = sorted(_below(source), key=lambda file: file.name)
    files = [file for file in files if file.name.lower().endswith((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))]
    if not files:
        raise SourceError(
            source,
            expected="a folder with images or videos, an image or a video",
            found="none in it" if source.exists() else "nothing there",
            next_step=f"Known are {', '.join((*IMAGE_SUFFIXES, *VIDEO_SUFFIXES))}: check the path.",
        )
    return root, files


def make_units(files: Sequence[SourceFile], shard_size: int) -> list[Unit]:
    """Each video is a unit, and so is each run of ``shard_size`` images in the order of names."""
    images = [file for file in files if not file.is_video]
    videos = [file for file in files if file.is_video]
    groups: list[tuple[Kind, Sequence[SourceFile]]] = [
        *(("images", images[start : start + shard_size]) for start in range(0, len(images), shard_size)),
        *(("video", [video]) for video in videos),
    ]
    return [
        Unit(index, kind, tuple(file.name for file in group), sum(file.size for file in group))
        for index, (kind, group) in enumerate(groups)
    ]


def _below(folder: Path) -> Iterator[SourceFile]:
    for parent, folders, names in os.walk(folder, onerror=_unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                yield SourceFile(_readable(path, folder), path.stat().st_size)


def _unlisted(error: OSError) -> None:
    if isinstance(error, FileNotFoundError):
        return  # nothing is found there, and that is said
    raise SourceError(
        error.filename,
        expected="a folder that can be listed",
        found=error.strerror or str(error),
        next_step="Give the right to read it, or move it away.",
    ) from error


def _readable(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            folder,
            expected="file names in Unicode, as they are written into shards",
            found=repr(name),
            next_step="Rename that file.",
        ) from error
    return name
