"""What a run of ``generate`` is made with; it is kept in the run's folder, which continues with it alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeseg.atomic import write_text
from edgeseg.errors import DataError, UnknownNameError, UsageError
from edgeseg.training.generative import GANS, MULTIPLE

_MAY_CHANGE = ("epochs", "count")

Side = Annotated[int, Field(ge=8)]


class Settings(BaseModel):
    """All settings of a run.

    Attributes:
        gan: A name of :data:`edgeseg.training.generative.GANS`.
        data: Dataset, as ``--data`` takes it, and ``split``, the part of it that is learnt from.
        size: Height and width of what is learnt and made, in pixels.
        epochs: Times that each image is seen.
        batch: Images in one step.
        channels: Width of the networks' outermost layers.
        count: Pairs that are written for training; a fifth as many more are written for validation.
        seed: Decides weights, order, noise and which masks are used.
        fingerprint: Of the images and labels that are learnt from; ``None`` until they were read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gan: str
    data: str
    split: str = "train"
    size: tuple[Side, Side] = (256, 256)
    epochs: int = Field(100, ge=1)
    batch: int = Field(8, ge=1)
    channels: int = Field(32, ge=1)
    count: int = Field(200, ge=1)
    seed: int = Field(1, ge=0, lt=2**31)
    fingerprint: str | None = None

    def write(self, path: Path) -> None:
        """Write as YAML, atomically."""
        write_text(path, yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def make_settings(values: dict[str, Any]) -> Settings:
    """Settings of plain values.

    Raises:
        UnknownNameError: There is no such GAN.
        UsageError: A value is not allowed, or the size is none that GANs take.
    """
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            f"--{first['loc'][0]}",
            expected=first["msg"][0].lower() + first["msg"][1:],
            found=repr(first["input"]),
            next_step="Correct it.",
        ) from error
    if settings.gan not in GANS:
        raise UnknownNameError.of("generator", settings.gan, GANS)
    _check_size(settings)
    return settings


def check_continues(path: Path, settings: Settings) -> None:
    """Refuse to go on in a folder whose run was made with others; epochs and count may differ.

    Raises:
        UsageError: Another setting differs, or the dataset's files do.
        DataError: The file cannot be read.
    """
    try:
        earlier = Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise DataError(
            path,
            expected="the settings of a run, as edgeseg generate wrote them",
            found=" ".join(str(error).split())[:200],
            next_step="Restore the file, or name another --out.",
        ) from error
    unknown = {"fingerprint"} if settings.fingerprint is None else set()
    theirs, ours = (s.model_dump(mode="json", exclude={*_MAY_CHANGE} | unknown) for s in (earlier, settings))
    different = [key for key in ours if theirs[key] != ours[key]]
    if different:
        raise UsageError(
            f"--out {path.parent}",
            expected=f"a new folder, or one whose run had all but {' and '.join(_MAY_CHANGE)} alike",
            found="; ".join(f"{key} was {theirs[key]} and is {ours[key]} now" for key in different),
            next_step="Name another --out, or give the settings as they were.",
        )


def _check_size(settings: Settings) -> None:
    if any(side % MULTIPLE for side in settings.size):
        fits = "x".join(str(max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)) for side in settings.size)
        raise UsageError(
            "--size",
            expected=f"height and width that are multiples of {MULTIPLE}",
            found=f"{settings.size[0]}x{settings.size[1]}",
            next_step=f"Use --size {fits}.",
        )
