"""What a job is: it decides which frame lies in which shard, with which pixels. Kept as ``job.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeseg.atomic import write_text
from edgeseg.errors import DataError, UsageError
from edgeseg.labelling.sources import SourceFile

SCHEMA_VERSION: Literal[1] = 1
JOB_FILE = "job.json"

Document = TypeVar("Document", bound="Stored")


class Stored(BaseModel):
    """A JSON file of a labelling folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls: type[Document], path: Path) -> Document:
        """What the file says.

        Raises:
            DataError: The file is missing or damaged.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            missing = isinstance(error, FileNotFoundError)
            raise DataError(
                path,
                expected="a file that edgeseg label wrote",
                found="nothing there" if missing else " ".join(str(error).split())[:200],
                next_step="Name a folder that edgeseg label wrote; where the file is damaged, "
                "delete it and give the same command again.",
            ) from error

    def write(self, path: Path) -> None:
        """Atomically.

        Raises:
            OutputError: It cannot be written.
        """
        write_text(path, json.dumps(self.model_dump(mode="json"), indent=2) + "\n")


class Job(Stored):
    """Two commands with equal jobs write equal shards.

    Args:
        edgeseg: The version that labels; another one may decode or resize otherwise.
        bundle: The bundle's name, for people.
        bundle_digest: SHA-256 that names the bundle.
        runtime, precision: What runs which of its models.
        sources_digest: SHA-256 over the names and sizes of all images and videos.
        sources: How many there are.
        shard_size: Frames in a shard; a video's last, and that of the last images, may hold fewer.
        stride: Of a video, each so-many-th frame is labelled.
        with_frames: Whether each frame lies beside its mask, as JPEG.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    edgeseg: str
    bundle: str
    bundle_digest: str
    runtime: str
    precision: str
    sources_digest: str
    sources: int
    shard_size: int
    stride: int
    with_frames: bool


def sources_digest(files: Sequence[SourceFile]) -> str:
    """SHA-256 (hex) over names and sizes; to read contents would take as long as the job."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.size}\n".encode())
    return digest.hexdigest()


def begin(job: Job, folder: Path) -> bool:
    """Make ``folder`` the place of the job; whether the same job was begun there before.

    Raises:
        UsageError: Another job's masks are there, or files of something else.
        OutputError: The folder cannot be written.
    """
    path = folder / JOB_FILE
    if not path.exists():
        _check_empty(folder)
        job.write(path)
        return False
    there = Job.read(path)
    different = [name for name in Job.model_fields if getattr(there, name) != getattr(job, name)]
    if different:
        raise UsageError(
            folder,
            expected="the job that was begun there: " + _shown(there, different),
            found=_shown(job, different),
            next_step="Give the command it was begun with, or another folder: "
            "masks of two jobs are never mixed.",
        )
    return True


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            folder,
            expected=f"a new or empty folder, or one with the {JOB_FILE} of a job to go on with",
            found="other files" if folder.is_dir() else "a file",
            next_step="Name another folder.",
        )


def _shown(job: Job, fields: Sequence[str]) -> str:
    return ", ".join(f"{name} {str(getattr(job, name))[:16]}" for name in fields)
