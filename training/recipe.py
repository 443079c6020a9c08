"""A recipe: everything that makes a training run repeatable, validated, and written into its run folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from edgeseg.atomic import write_text
from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.losses import LOSSES
from edgeseg.training.models import MODELS

# What may differ between two runs that give the same model.
_WITHOUT_EFFECT = {"workers"}


class Recipe(BaseModel):
    """All settings of a run. The defaults are a good start on small driving datasets."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    data: str = Field(description="Dataset, as --data takes it.")
    extra_data: str | None = Field(
        None, description="Another dataset of the same classes, whose train split is trained on too."
    )
    train_split: str = "train"
    val_split: str = "val"
    size: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = Field(
        (256, 256), description="Input height and width in pixels."
    )
    crop: tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] | None = Field(
        None, description="Height and width of the windows that are trained on; null: the whole image."
    )
    fraction: float = Field(1.0, gt=0, le=1, description="Share of the training images that is used.")
    model: str = "unet_mini"
    model_options: dict[str, Any] = Field(default_factory=dict, description="Options of the model's build.")
    loss: str = "dice_cross_entropy"
    loss_options: dict[str, float] = Field(default_factory=dict, description="Parameters of the loss.")
    class_weights: Literal["none", "median_frequency", "effective_number"] | tuple[float, ...] = Field(
        "none", description="none, a rule by which rare classes weigh more, or one number per class."
    )
    auxiliary_weight: float = Field(
        0.4, ge=0, description="Of the loss of each auxiliary head, where the model has any."
    )
    teacher: str | None = Field(
        None, description="Checkpoint (.keras) of a model or ensemble whose logits are learnt too."
    )
    distill_distance: Literal["pixel", "channel"] = Field(
        "channel", description="What is compared: a pixel's classes, or a class's place in the image."
    )
    distill_weight: float = Field(1.0, ge=0, description="Of the distance from the teacher.")
    distill_temperature: float = Field(1.0, gt=0, description="Softens both sides of that distance.")
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "poly", "plateau", "constant"] = Field(
        "cosine", description="After the warm-up."
    )
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of all steps with a linearly rising rate.")
    weight_decay: float = Field(1e-2, ge=0, description="Decoupled; used by adamw only.")
    encoder_rate: float = Field(
        1.0, ge=0, le=1, description="The encoder's share of the learning rate; 0 freezes it."
    )
    encoder_frozen_epochs: int = Field(0, ge=0, description="Epochs before the encoder learns too.")
    ema: float = Field(
        0.0, ge=0, lt=1, description="Momentum of the weights' moving average, which is kept; 0: none."
    )
    epochs: int = Field(40, ge=1)
    batch: int = Field(8, ge=1, description="Images in one step.")
    accumulate: int = Field(1, ge=1, description="Steps whose gradients make one update.")
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    resident: bool | None = Field(
        None, description="Training images in the accelerator's memory, varied there; null: where they fit."
    )
    early_stopping: int = Field(
        0, ge=0, description="Stop after so many epochs without a better val mIoU; 0 trains all epochs."
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    seed: int = Field(1, ge=0, lt=2**31)
    workers: int | None = Field(
        None, ge=0, description="Processes that prepare batches; null chooses, 0 uses none."
    )

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        return _known("model", name, MODELS)

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, name: str) -> str:
        return _known("loss", name, LOSSES)

    @model_validator(mode="after")
    def _crop_fits(self) -> Recipe:
        if self.crop and (self.crop[0] > self.size[0] or self.crop[1] > self.size[1]):
            raise ValueError(f"crop must lie within size {self.size[0]}x{self.size[1]}")
        return self

    @property
    def train_size(self) -> tuple[int, int]:
        """Height and width of what the training step sees."""
        return self.crop or self.size

    @property
    def height(self) -> int:
        return self.size[0]

    @property
    def width(self) -> int:
        return self.size[1]

    def hash(self) -> str:
        """SHA-256, hexadecimal, of all that has an effect on the trained model."""
        values = self.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
        # Recipes of before there were these fields keep their hash, and their runs can be resumed.
        if not self.extra_data:
            del values["extra_data"]
        before = AugmentConfig()
        for name in ("blur_sigma", "noise_sigma"):
            if getattr(self.augment, name) == getattr(before, name):
                del values["augment"][name]
        return _digest(values)

    def settings_hash(self) -> str:
        """The same without the files' places, which two machines may have under different names."""
        values = self.model_dump(mode="json", exclude=_WITHOUT_EFFECT | {"data", "extra_data", "teacher"})
        options = values["model_options"].items()
        values["model_options"] = {k: v for k, v in options if not str(v).endswith((".h5", ".keras"))}
        return _digest(values)

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def write(self, path: Path) -> None:
        """Write as YAML, atomically."""
        write_text(path, self.to_yaml())


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode("utf-8")).hexdigest()


def make_recipe(values: Mapping[str, Any], settings: Mapping[str, str] | None = None) -> Recipe:
    """A recipe of plain values and of ``--set`` arguments, which win.

    Args:
        values: Fields of :class:`Recipe`, nested as in YAML.
        settings: Dotted field names to YAML text, for instance ``{"augment.horizontal_flip": "0"}``.

    Raises:
        UsageError: A field does not exist or its value is not allowed.
        UnknownNameError: There is no such model or loss.
    """
    merged = json.loads(json.dumps(dict(values)))
    for key, text in (settings or {}).items():
        _set(merged, key, text)
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise _invalid(error) from error


def read_recipe(path: Path) -> dict[str, Any]:
    """The values of a recipe file, for :func:`make_recipe`.

    Raises:
        UsageError: It cannot be read or holds no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _not_a_recipe(path, f"a file that cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise _not_a_recipe(path, "something else")
    return values


def _set(values: dict[str, Any], key: str, text: str) -> None:
    *path, last = key.split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise UsageError(
                f"--set {key}",
                expected="the dotted name of a field",
                found=f"{part!r}, which has no fields of its own",
                next_step="See recipe.yaml of any run for the names.",
            )
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(
            f"--set {key}", expected="a YAML value", found=repr(text), next_step="Quote it."
        ) from error


def _known(kind: str, name: str, names: Mapping[str, object]) -> str:
    if name not in names:
        raise UnknownNameError.of(kind, name, names)
    return name


def _invalid(error: ValidationError) -> UsageError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        fields = ", ".join(Recipe.model_fields)
        return UsageError(
            f"recipe field {where!r}",
            expected=f"a field of the recipe, one of {fields}, or of its parts",
            found="no such field",
            next_step="See recipe.yaml of any run for the names.",
        )
    return UsageError(
        f"recipe field {where!r}",
        expected=first["msg"][0].lower() + first["msg"][1:],
        found=repr(first["input"]),
        next_step="Correct the option, the --set argument or the recipe file.",
    )


def _not_a_recipe(path: Path, found: str) -> UsageError:
    return UsageError(
        path,
        expected="a recipe: YAML with the fields that recipe.yaml of a run folder has",
        found=found,
        next_step="Start from the recipe.yaml of any run.",
    )
