"""The schema of ``manifest.json``: everything a vehicle needs to know about a bundle's models.

The file is canonical: one serialisation for given values, and its ``digest`` is the SHA-256 of that
serialisation with an empty digest. So a changed byte anywhere in the manifest itself is seen too, and the
digest names the whole bundle, whose members the manifest names by hash.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from edgeseg.bundle.canonical import from_canonical_json, to_canonical_json
from edgeseg.bundle.measured import Parity as Parity
from edgeseg.bundle.measured import Part
from edgeseg.bundle.measured import RecordedAccuracy as RecordedAccuracy
from edgeseg.bundle.measured import Wrapping as Wrapping
from edgeseg.bundle.members import shown
from edgeseg.errors import LabelError, ManifestError
from edgeseg.labels import LabelSet

SCHEMA_VERSION: Literal[1] = 1
MANIFEST_NAME = "manifest.json"
GOLDEN_NAME = "golden.npz"
REPORT_NAME = "report.json"

_LONGEST_FOUND = 300

Precision = Literal["fp32", "fp16", "bf16", "int8"]
FileFormat = Literal["tflite", "onnx", "openvino"]
_Channel = Annotated[int, Field(ge=0, le=255)]
Output = Literal["mask", "logits", "mask+confidence"]


class Input(Part):
    """The frames a model takes: ``uint8 [1, height, width, 3]`` RGB, resized by :mod:`edgeseg.resize`."""

    height: int = Field(ge=8, le=8192)
    width: int = Field(ge=8, le=8192)
    dtype: Literal["uint8"] = "uint8"
    layout: Literal["NHWC"] = "NHWC"
    color: Literal["RGB"] = "RGB"
    resize: Literal["stretch"] = "stretch"
    interpolation: Literal["area"] = "area"


class OutputSpec(Part):
    """What a model gives.

    ``mask``: class ids ``uint8 [1, H, W]``. ``mask+confidence``: the same and the top-1 probability × 255,
    ``uint8 [1, H, W]``. ``logits``: ``float32 [1, H, W, C]``.
    """

    kind: Output
    dtype: Literal["uint8", "float32"]
    shape: tuple[int, ...]


class LabelClassSpec(Part):
    id: int
    name: str
    color: tuple[_Channel, _Channel, _Channel]


class LabelSpec(Part):
    name: str
    ignore_index: int
    classes: tuple[LabelClassSpec, ...]


class ModelFile(Part):
    """One model file of a bundle; the first that a runtime can run is the one that is used.

    It has ``parity`` with the Keras model that it was exported from, or ``wrapping`` where there is none.
    ``weights`` is the member that holds the weights of an OpenVINO model, whose ``file`` holds the graph
    alone; other formats are one file.
    """

    file: str
    format: FileFormat
    precision: Precision
    parity: Parity | None = None
    golden_min_agreement: float = Field(ge=0, le=1)
    weights: str | None = None
    wrapping: Wrapping | None = None

    @property
    def beside_keras(self) -> Parity:
        """The parity of a model that was exported.

        Raises:
            ValueError: It was wrapped, and there is no Keras model.
        """
        if self.parity is None:
            raise ValueError(f"{self.file} was not exported from a Keras model")
        return self.parity

    @property
    def measured(self) -> Parity | RecordedAccuracy | None:
        """The accuracy that was recorded, and what it was measured on."""
        return self.parity if self.wrapping is None else self.wrapping.accuracy

    @property
    def members(self) -> tuple[str, ...]:
        """The names of all members that the model consists of."""
        return (self.file,) if self.weights is None else (self.file, self.weights)

    @model_validator(mode="after")
    def _weights_where_they_belong(self) -> ModelFile:
        if (self.weights is not None) != (self.format == "openvino") or self.weights == self.file:
            raise ValueError(f"weights of the {self.format} model {self.file} are {self.weights!r}")
        return self

    @model_validator(mode="after")
    def _exported_or_wrapped(self) -> ModelFile:
        if (self.parity is None) == (self.wrapping is None):
            raise ValueError(f"{self.file} needs either parity with its Keras model or a wrapping")
        return self

    @model_serializer(mode="wrap")
    def _as_before_without_additions(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A bundle that has none of them stays readable to releases that do not know them.
        values: dict[str, Any] = serialise(self)
        for name in ("parity", "weights", "wrapping"):
            if values[name] is None:
                del values[name]
        return values


class Member(Part):
    file: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class RuntimeSpec(Part):
    """Runtimes that may run the bundle, best first, and the versions that its checks were run with."""

    names: tuple[str, ...]
    verified_with: dict[str, str]


class Lineage(Part):
    """Where a bundle's models come from; ``dataset`` and its fingerprint are what was trained on.

    What edgeseg does not know of a Keras file of elsewhere is ``unknown``.
    """

    model: str
    recipe_hash: str
    dataset: str
    dataset_fingerprint: str
    keras_file_sha256: str
    tools: dict[str, str]


class Calibration(Part):
    """What int8 was calibrated on; ``absent_classes`` are those that no image of the split holds."""

    dataset: str
    split: str
    samples: int
    fingerprint: str
    absent_classes: tuple[str, ...] = ()


class Build(Part):
    """Whether something is still to be built on the device: TensorRT engines are tied to GPU and version."""

    state: Literal["complete", "engine-not-built"]
    note: str = ""


class Manifest(Part):
    """All of ``manifest.json``."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    created: str
    target: str
    precision: Precision
    input: Input
    output: OutputSpec
    labels: LabelSpec
    models: tuple[ModelFile, ...] = Field(min_length=1)
    members: tuple[Member, ...]
    runtime: RuntimeSpec
    lineage: Lineage
    calibration: Calibration | None = None
    build: Build
    digest: str = ""

    @model_validator(mode="after")
    def _parts_fit(self) -> Manifest:
        one_map = (1, self.input.height, self.input.width)
        right: tuple[str, tuple[int, ...]] = ("uint8", one_map)
        if self.output.kind == "logits":
            right = ("float32", (*one_map, len(self.labels.classes)))
        if (self.output.dtype, self.output.shape) != right:
            raise ValueError(f"output {self.output.kind} must be {right[0]} {list(right[1])}")
        files = [member.file for member in self.members]
        if len(set(files)) != len(files):
            raise ValueError(f"members must be named once each, not {files}")
        try:
            self.label_set()
        except LabelError as error:
            raise ValueError(str(error)) from error
        return self

    def label_set(self) -> LabelSet:
        return LabelSet.from_dict(self.labels.model_dump())

    def to_bytes(self) -> bytes:
        """The canonical file, its digest filled in."""
        values = self.model_dump(mode="json")
        return to_canonical_json({**values, "digest": _digest(values)})

    @classmethod
    def from_bytes(cls, data: bytes, source: str = MANIFEST_NAME) -> Manifest:
        """Parse and check a manifest.

        Raises:
            ManifestError: It is not JSON, not canonical, its digest is wrong, or its schema is another.
        """
        try:
            values = from_canonical_json(data)
        except ValueError as error:
            raise _damaged(source, f"bytes that are not canonical JSON ({error})") from error
        version = values.get("schema_version")
        # true == 1
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise ManifestError(
                source,
                expected=f"schema version {SCHEMA_VERSION}",
                found=shown(repr(version), _LONGEST_FOUND),
                next_step="Use the edgeseg release that exported this bundle, or export it again.",
            )
        if values.get("digest") != _digest(values):
            raise _damaged(source, "bytes that do not match its own digest")
        try:
            # Strictly, and as JSON, where a list is the only form of a tuple: '12' and true are no numbers.
            return cls.model_validate_json(data, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "manifest"
            raise _damaged(source, f"{where}: {first['msg']}") from error


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(to_canonical_json({**values, "digest": ""})).hexdigest()


def _damaged(source: str, found: str) -> ManifestError:
    return ManifestError(
        source,
        expected="the manifest as it was exported",
        found=shown(found, _LONGEST_FOUND),
        next_step="Copy the bundle again from where it was exported; it must not be used as it is.",
    )
