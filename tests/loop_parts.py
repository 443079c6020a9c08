"""Sources and sinks that are slow, fail, or keep what they get; the loop's processes import them by name."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import cv2
import numpy as np

from edgeseg import camera
from edgeseg.camera import Frame, Wanted
from edgeseg.errors import SinkError, SourceError
from edgeseg.loop.sinks import NoSink, Published

SOURCE, SINKS = "loop_parts:open_source", "loop_parts:open_sinks"


def open_source(text: str, wanted: Wanted | None = None) -> Any:
    """``FILE?decode=SECONDS&fails=FRAMES&raises=FRAMES&ends=FRAMES``: reading is slow, or has a fault."""
    place, given = _given(text)
    return SlowFile(camera.open_source(place, wanted or Wanted()), given)


class SlowFile:
    """A source whose reading takes longer, and fails or ends after so many frames."""

    def __init__(self, source: Any, given: dict[str, str]) -> None:
        self._source, self._given = source, given
        self._read = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def read(self) -> Frame | None:
        time.sleep(float(self._given.get("decode", 0)))
        if self._comes("fails"):
            raise SourceError("drive", expected="a frame", found="a torn file", next_step="Copy it again.")
        if self._comes("raises"):
            raise RuntimeError("ioctl")
        if self._comes("ends"):
            return None
        self._read += 1
        frame: Frame | None = self._source.read()
        return frame

    def _comes(self, fault: str) -> bool:
        return fault in self._given and self._read >= int(self._given[fault])


def open_sinks(texts: Sequence[str], fps: float) -> list[KeepingSink]:
    """``FOLDER?sleep=SECONDS&fails=MASKS&pictures=1``, each."""
    return [KeepingSink(*_given(text)) for text in texts]


class KeepingSink(NoSink):
    """Tells in ``FOLDER/told.jsonl`` what it was given; may keep pictures, be slow, or fail."""

    def __init__(self, place: str, given: dict[str, str]) -> None:
        self.name, self.output = place, Path(place)
        self._given = given
        self._taken = 0
        self.output.mkdir(parents=True)

    def write(self, published: Published) -> None:
        if self._taken == int(self._given.get("fails", -1)):
            raise SinkError("disk", expected="room", found="none", next_step="Make some.")
        self._taken += 1
        time.sleep(float(self._given.get("sleep", 0)))
        segmentation = published.segmentation
        if "pictures" in self._given:
            np.savez(
                self._place / f"{published.position}.npz", frame=segmentation.frame, mask=segmentation.mask
            )
        self._tell(
            **published.describe(),
            caption=published.caption,
            given_age_ms=published.age_ms,
            mask_age_ms=segmentation.age_ms,
            timings=asdict(segmentation.timings),
        )

    def finish(self, positions: int) -> None:
        self._tell(finished=positions)

    def close(self) -> None:
        self._tell(closed=True)

    @property
    def _place(self) -> Path:
        return Path(self.name)

    def _tell(self, **values: Any) -> None:
        with (self._place / "told.jsonl").open("a") as file:
            file.write(json.dumps(values) + "\n")


class Told:
    """What a :class:`KeepingSink` was given.

    Attributes:
        masks: A line for each.
        positions: Their places.
        finished: At which place it was completed; ``None`` where it was not.
        closed: Whether it was released.
    """

    def __init__(self, folder: Path) -> None:
        lines = [json.loads(line) for line in (folder / "told.jsonl").read_text().splitlines()]
        self.masks = [line for line in lines if "position" in line]
        self.positions = [mask["position"] for mask in self.masks]
        self.finished = next((line["finished"] for line in lines if "finished" in line), None)
        self.closed = any("closed" in line for line in lines)


def _given(text: str) -> tuple[str, dict[str, str]]:
    place, _, query = text.partition("?")
    return place, {name: values[0] for name, values in parse_qs(query).items()}


def frames_of(video: Path) -> list[np.ndarray]:
    """All frames of a file, RGB."""
    source = camera.open_source(str(video))
    frames = [frame.image for frame in iter(source.read, None)]
    source.close()
    return frames


def write_pictures(folder: Path, count: int, level: int = 0) -> Path:
    """A folder of grey pictures, 128×64."""
    folder.mkdir()
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((64, 128, 3), level, np.uint8))
    return folder
