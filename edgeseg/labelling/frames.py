"""The frames of a unit one by one; what cannot be read is told and never stops the others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeseg.camera import VideoFile, read_image
from edgeseg.errors import DataError, EdgesegError, SourceError
from edgeseg.labelling.sources import Unit
from edgeseg.resize import Image

SHARED = "Put sources and shards on storage that every machine mounts at the same path."


@dataclass(frozen=True)
class Picture:
    """A frame that was read.

    Args:
        source: The file, by its name below the folder of the sources.
        frame: Its number in the video, from 0; 0 for an image.
        image: ``uint8 [H, W, 3]`` RGB.
    """

    source: str
    frame: int
    image: Image


@dataclass(frozen=True)
class Unreadable:
    """A frame, or from it on the rest of a video, that could not be read, and why."""

    source: str
    frame: int
    reason: str


def not_there(path: Path, error: OSError) -> DataError:
    """The error about a source that this machine cannot get at: whether it is readable nobody knows yet."""
    return DataError(
        path,
        expected=f"the file that was found when the job was planned, on {os.uname().nodename} too",
        found=error.strerror or str(error),
        next_step=f"{SHARED} Then give the same command again.",
    )


class Frames(Protocol):
    """The frames to label, in order.

    Attributes:
        position: How many were passed so far.
        announced: Frames that the video's container promises, of which only each ``stride``-th is labelled;
        ``None``
            where nobody says.
        seen: Frames of the video that were passed so far, whether labelled or not.
    """

    position: int
    announced: int | None
    seen: int

    def read(self) -> Picture | Unreadable | None:
        """The next frame, what is wrong with it, or ``None`` at the end."""

    def skip(self, count: int) -> None:
        """Pass over frames that are labelled already."""

    def close(self) -> None:
        """Release the file; calling twice is harmless."""


def open_frames(root: Path, unit: Unit, stride: int) -> Frames:
    """The frames of a unit; of a video each ``stride``-th. Nothing is opened before the first is read."""
    if unit.kind == "images":
        return ImageFrames(root, unit.names)
    return VideoFrames(root, unit.names[0], stride)


class ImageFrames:
    """Images, each one frame."""

    announced: int | None = None
    seen = 0

    def __init__(self, root: Path, names: tuple[str, ...]) -> None:
        self.position = 0
        self._root, self._names = root, names

    def read(self) -> Picture | Unreadable | None:
        if self.position >= len(self._names):
            return None
        name = self._names[self.position]
        self.position += 1
        try:
            return Picture(name, 0, read_image(self._root / name))
        except SourceError as error:
            # Not the picture is at fault, but the way to it: that is not what it holds for good.
            if isinstance(error.__cause__, OSError):
                raise not_there(self._root / name, error.__cause__) from error
            return Unreadable(name, 0, error.found)

    def skip(self, count: int) -> None:
        self.position += count

    def close(self) -> None:
        """Nothing is held open between images."""


class VideoFrames:
    """Each ``stride``-th frame of a video, decoded from its beginning on: to jump in a video is not exact."""

    def __init__(self, root: Path, name: str, stride: int) -> None:
        self.position = self.seen = 0
        self.announced: int | None = None
        self._path, self._name, self._stride = root / name, name, stride
        self._video: VideoFile | None = None
        self._ended = False

    def read(self) -> Picture | Unreadable | None:
        if self._ended:
            return None
        try:
            if not self._pass_to(self.position * self._stride):
                return None
            frame = self._opened().read()
        except EdgesegError as error:
            return self._broken(error)
        if frame is None:
            self._ended = True
            return None
        self.seen = frame.index + 1
        self.position += 1
        return Picture(self._name, frame.index, frame.image)

    def skip(self, count: int) -> None:
        # They are passed when the next one is read: there may be none after them.
        self.position += count

    def close(self) -> None:
        if self._video is not None:
            self._video.close()

    def _opened(self) -> VideoFile:
        if self._video is None:
            self._video = VideoFile(self._path)
            self.announced = self._video.frame_count
        return self._video

    def _pass_to(self, number: int) -> bool:
        """Go to frame ``number``, counted from 0; ``False`` where the video has no more."""
        video = self._opened()
        while self.seen < number:
            if not video.skip():
                self._ended = True
                return False
            self.seen += 1
        return True

    def _broken(self, error: EdgesegError) -> Unreadable:
        self._ended = True
        reason = f"expected {error.expected}, found {error.found}"
        return Unreadable(self._name, self.seen, reason)
