"""What the manifest records of a model file beside its original: a Keras model, or a file of elsewhere."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the manifest: exactly these fields, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Parity(Part):
    """One artifact beside its Keras model, on real samples, through ``runtime``.

    The samples are ``samples`` of a dataset's ``split``, spread evenly over it; ``fingerprint`` is that of
    the whole split. The three names are empty where they were not recorded.
    ``agreement`` is the share of pixels with the same class, at model resolution. The mIoU values (0 to 1)
    are at label resolution; ``drop_points`` are hundredths of mIoU lost, negative where the artifact is
    better, ``class_drop_points`` the same per class (``None``: absent).
    """

    runtime: str
    samples: int
    agreement: float
    keras_miou: float
    miou: float
    drop_points: float
    class_drop_points: dict[str, float | None]
    max_drop_points: float
    max_class_drop_points: float | None = None
    dataset: str = ""
    split: str = ""
    fingerprint: str = ""


class RecordedAccuracy(Part):
    """mIoU (0 to 1, label resolution) of a wrapped model on ``samples`` of a split, and of the bare one."""

    miou: float
    bare_miou: float
    samples: int
    dataset: str
    split: str
    fingerprint: str


class Wrapping(Part):
    """A model that edgeseg did not make: how its file is read, and that wrapping it changed nothing.

    ``file`` and ``sha256`` are those of the bare file. ``input`` and ``output`` say in words what it takes
    and gives; ``output_layout`` and ``threshold`` are set where they had to be told. ``agreement`` is the
    share of equal pixels, over ``frames``, between the wrapped file and the bare one run in ``runtime`` with
    pixels and class maps made outside the graph. ``accuracy`` is there where labelled data was given.
    """

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    pixel_scale: str
    channel_order: Literal["rgb", "bgr"]
    input: str
    output_name: str
    output: str
    output_layout: str | None = None
    threshold: float | None = None
    runtime: str
    frames: int
    agreement: float
    min_agreement: float
    accuracy: RecordedAccuracy | None = None
