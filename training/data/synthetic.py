"""``--data synthetic``: street scenes drawn on demand, as a dataset, as folders and as a video."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

import cv2

from edgeseg.atomic import atomic_file, atomic_folder
from edgeseg.errors import DataError, SinkError, UsageError
from edgeseg.labels import Mask
from edgeseg.resize import Image
from edgeseg.training.data.cityscapes import CITYSCAPES8, IMAGE_ENDING, MASK_ENDING
from edgeseg.training.data.dataset import Dataset, Item
from edgeseg.training.data.parallel import Advance, ordered_map
from edgeseg.training.data.scenes.layout import SPEED
from edgeseg.training.data.scenes.street import SIGHT, Street

_FRAME = "000019"  # what Cityscapes gives the labelled frame of every snippet
_SMALLEST, _LARGEST = 64, 4096
_FORM = "synthetic or synthetic:train=160,val=40,size=256x512,seed=7, or some of these"


def draw_scene(seed: int, split: str, index: int, height: int, width: int) -> tuple[Image, Mask]:
    """Scene ``index`` of a split: always the same picture for the same arguments.

    Returns:
        Picture ``uint8 [height, width, 3]`` RGB, and mask of raw Cityscapes ids ``uint8 [height, width]``.
    """
    return Street.sample(f"{seed}/{split}/{index}").render(height, width)


@dataclass(frozen=True)
class Scene(Item):
    """An item without files: what it is drawn from."""

    split: str = ""
    index: int = 0


@dataclass(frozen=True)
class SyntheticDataset(Dataset):
    """Scenes of ``height`` × ``width`` pixels with the label set ``cityscapes8``."""

    height: int = 256
    width: int = 512
    seed: int = 7

    def read_image(self, item: Item) -> Image:
        """The picture ``uint8 [H, W, 3]`` RGB."""
        return self._drawn(item)[0].copy()

    def read_mask(self, item: Item) -> Mask:
        """The class map ``uint8 [H, W]``."""
        return self.labels.encode_ids(self.read_raw_mask(item), item.name)

    def read_raw_mask(self, item: Item) -> Mask:
        """The raw Cityscapes label ids ``uint8 [H, W]``."""
        return self._drawn(item)[1].copy()

    def identity(self, item: Item) -> Iterator[bytes]:
        """What the scene is drawn from, and by what code."""
        scene = _scene(item)
        yield f"{_code()}/{self.seed}/{scene.split}/{scene.index}/{self.height}x{self.width}".encode()

    def _drawn(self, item: Item) -> tuple[Image, Mask]:
        scene = _scene(item)
        return _last_drawn(self.seed, scene.split, scene.index, self.height, self.width)


def open_synthetic(text: str = "") -> SyntheticDataset:
    """Scenes by options such as ``train=160,val=40,size=256x512,seed=7``, each of which may be left out.

    Raises:
        UsageError: An option is unknown or its value is out of range.
    """
    options = {"train": "160", "val": "40", "size": "256x512", "seed": "7"}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or name not in options:
            raise _malformed(text, f"{part!r}")
        options[name] = value
    height, width = _size(text, options["size"])
    counts = {split: _number(text, split, options[split], least=1) for split in ("train", "val")}
    return SyntheticDataset(
        spec="synthetic:" + ",".join(f"{name}={value}" for name, value in options.items()),
        name="synthetic",
        labels=CITYSCAPES8,
        splits={split: _scenes(split, count) for split, count in counts.items()},
        height=height,
        width=width,
        seed=_number(text, "seed", options["seed"], least=0),
    )


def write_cityscapes(dataset: SyntheticDataset, out: Path, *, on_progress: Advance | None = None) -> int:
    """Write every scene in the Cityscapes layout, all or nothing, and return how many there are.

    ``out`` gets ``leftImg8bit/SPLIT/CITY/CITY_000000_000019_leftImg8bit.png`` and
    ``gtFine/SPLIT/CITY/CITY_000000_000019_gtFine_labelIds.png``, with raw label ids.

    Raises:
        DataError: ``out`` exists and is not an empty folder, or cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            out,
            expected="a new or empty folder",
            found="something there",
            next_step="Choose another --out, or remove it first.",
        )
    scenes = [_scene(item) for items in dataset.splits.values() for item in items]
    try:
        with atomic_folder(out) as folder:
            write = partial(_write_scene, folder, dataset.seed, dataset.height, dataset.width)
            for _ in ordered_map(write, scenes, on_progress=on_progress):
                pass
    except OSError as error:
        raise _not_written(out, error.strerror or str(error)) from error
    return len(scenes)


def synthetic_video(
    path: Path,
    frames: int = 250,
    size: tuple[int, int] = (256, 512),
    fps: float = 25.0,
    seed: int = 7,
    on_progress: Advance | None = None,
) -> None:
    """Write an mp4 of a drive along one street, ``frames`` pictures of ``size`` (height, width), both even.

    Raises:
        SinkError: This OpenCV cannot write mp4 there.
    """
    with atomic_file(path) as staging:
        writer = cv2.VideoWriter(str(staging), cv2.VideoWriter.fourcc(*"mp4v"), fps, size[::-1])
        if not writer.isOpened():
            raise SinkError(
                path,
                expected="a place where OpenCV can write an mp4 video",
                found=f"it cannot open it for {size[0]}x{size[1]} pixels",
                next_step="Check the folder, and take an even height and width.",
            )
        try:
            for done, image in enumerate(drive(seed, frames, size, fps), start=1):
                writer.write(image[..., ::-1])
                if on_progress:
                    on_progress(done, frames)
        finally:
            writer.release()


def drive(seed: int, frames: int, size: tuple[int, int], fps: float) -> Iterator[Image]:
    """The pictures ``uint8 [H, W, 3]`` RGB of a drive at an even speed, one after another."""
    street = Street.sample(f"{seed}/video/0", length=SIGHT + SPEED * frames / fps).with_clear_way()
    for index in range(frames):
        time = index / fps
        yield street.render(*size, along=SPEED * time, time=time)[0]


# Image and mask are read one after the other, and drawn together.
_last_drawn = lru_cache(maxsize=2)(draw_scene)


@cache
def _code() -> str:
    """A digest of the drawing code, so that no cache of other pictures is taken for these."""
    digest = hashlib.sha256()
    for file in sorted((Path(__file__).parent / "scenes").glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _scenes(split: str, count: int) -> tuple[Scene, ...]:
    city = f"synthetic-{split}"
    return tuple(
        Scene(f"{city}/{city}_{index:06d}_{_FRAME}", split=split, index=index) for index in range(count)
    )


def _scene(item: Item) -> Scene:
    if not isinstance(item, Scene):
        raise DataError(
            item.name,
            expected="an item of this synthetic dataset",
            found="an item of another dataset",
            next_step="Take the items from dataset.items(split).",
        )
    return item


def _write_scene(folder: Path, seed: int, height: int, width: int, scene: Scene) -> None:
    image, mask = draw_scene(seed, scene.split, scene.index, height, width)
    _write_png(folder / "leftImg8bit" / scene.split / (scene.name + IMAGE_ENDING), image[..., ::-1])
    _write_png(folder / "gtFine" / scene.split / (scene.name + MASK_ENDING), mask)


def _write_png(path: Path, picture: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise _not_written(path, "the PNG could not be written")


def _not_written(path: Path, found: str) -> DataError:
    return DataError(
        path,
        expected="a place with room to write to",
        found=found,
        next_step="Check the free space and the folder's permissions, then run the command again.",
    )


def _size(text: str, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", value)
    if not match or not all(_SMALLEST <= int(v) <= _LARGEST for v in match.groups()):
        raise _malformed(text, f"size {value!r}, which is not HxW with {_SMALLEST} to {_LARGEST} pixels each")
    return int(match[1]), int(match[2])


def _number(text: str, name: str, value: str, least: int) -> int:
    if not value.isdecimal() or int(value) < least:
        raise _malformed(text, f"{name}={value!r}, which is not a whole number from {least} on")
    return int(value)


def _malformed(text: str, found: str) -> UsageError:
    return UsageError(
        f"--data synthetic:{text}", expected=_FORM, found=found, next_step="Correct the options."
    )
