"""The JSON of a benchmark, as others may rely on it: what reads it checks it against this."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeseg.benchmarks.results import SCHEMA
from edgeseg.errors import DataError

NotMeasured = Literal["not measured"]
Milliseconds = float


class Document(BaseModel):
    """Fields that are not named here may be added without a new schema; those that are stay what they are."""

    model_config = ConfigDict(extra="allow")


class SummaryDocument(Document):
    """Milliseconds per frame, percentiles by nearest rank."""

    mean: Milliseconds
    p50: Milliseconds
    p90: Milliseconds
    p99: Milliseconds
    p999: Milliseconds = Field(alias="p99.9")
    max: Milliseconds
    jitter: Milliseconds

    def percentile(self, name: str) -> float:
        value: float = getattr(self, name)
        return value


class StreamDocument(Document):
    """Frames that arrived at a camera's rate; a frame missed its deadline by being late or dropped."""

    fps: float
    deadline_ms: Milliseconds
    frames: int
    dropped: int
    late: int
    missed: float = Field(ge=0, le=1)
    age_ms: SummaryDocument


class AccuracyDocument(Document):
    """Scores through the same process; shares from 0 to 1."""

    dataset: str
    split: str
    samples: int
    label_resolution: dict[str, Any]
    model_resolution: dict[str, Any]


class ModelDocument(Document):
    """One model, one runtime, one number of threads."""

    name: str
    path: str
    digest: str
    size_mib: float
    height: int
    width: int
    runtime: str
    runtime_version: str
    model_file: str
    precision: str
    threads: int
    stages_ms: dict[Literal["decode", "resize", "infer", "post", "total"], SummaryDocument]
    confidence_95_ms: dict[str, tuple[Milliseconds, Milliseconds]]
    round_p50_ms: list[Milliseconds]
    stream: StreamDocument | None
    cold_start_ms: dict[str, Milliseconds]
    memory_mib: dict[str, float]
    accuracy: AccuracyDocument | NotMeasured
    failure: str | None
    sensors: dict[str, Any] | NotMeasured

    @property
    def miou(self) -> float | None:
        """At label resolution, 0 to 1."""
        if isinstance(self.accuracy, str):
            return None
        return float(self.accuracy.label_resolution["miou"])


class HostDocument(Document):
    """The machine and the software."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    machine: str
    governor: str
    load: float
    python: str
    versions: dict[str, str]


class BenchmarkDocument(Document):
    """A whole ``benchmark.json``."""

    schema_: Literal[2] = Field(alias="schema")
    created: str
    command: str
    state: Literal["complete", "partial"]
    host: HostDocument
    frames: dict[str, Any]
    options: dict[str, Any]
    conditions: dict[str, float | None] | NotMeasured
    marks: list[str]
    sustained: dict[str, Any] | NotMeasured
    models: list[ModelDocument]


def parse_document(values: Any, subject: str) -> BenchmarkDocument:
    """A ``benchmark.json`` that was read.

    Raises:
        DataError: It is none, or one of another version; ``subject`` names the file.
    """
    try:
        return BenchmarkDocument.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            subject,
            expected=f"a benchmark.json of schema {SCHEMA}",
            found=f"{where}: {first['msg']}" if where else first["msg"],
            next_step="Name the benchmark.json of a run made by this version.",
        ) from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the document."""
    return BenchmarkDocument.model_json_schema(by_alias=True)
