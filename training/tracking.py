"""Reporting a run to TensorBoard and MLflow."""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typing_extensions import override

from edgeseg.camera import without_password
from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.training.observer import Observer, Run, Status
from edgeseg.training.run_folder import EpochRow

_log = logging.getLogger(__name__)


class TensorBoardTracker(Observer):
    """Scalars and prediction grids of each epoch in ``RUN/tensorboard``.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise MissingExtraError.of("--tensorboard", "tensorboard", "tensorboard") from error
        self._events, self._summaries, self._new_writer = event_pb2, summary_pb2, EventFileWriter
        self._writer: Any = None

    @override
    def started(self, run: Run) -> None:
        self._folder = run.folder
        self._writer = self._new_writer(str(run.folder.tensorboard))

    @override
    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        value = self._summaries.Summary.Value
        scalars = [value(tag=name, simple_value=number) for name, number in _numbers(row).items()]
        picture = value(tag="predictions", image=self._picture(self._folder.prediction(row.epoch)))
        summary = self._summaries.Summary(value=[*scalars, picture])
        self._writer.add_event(self._events.Event(wall_time=time.time(), step=row.epoch, summary=summary))
        self._writer.flush()

    @override
    def ended(self, status: Status, summary: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._writer.close()

    def _picture(self, path: Path) -> Any:
        data = path.read_bytes()
        width, height = struct.unpack(">II", data[16:24])  # a PNG begins with its size
        return self._summaries.Summary.Image(
            height=height, width=width, colorspace=4, encoded_image_string=data
        )


class MLflowReporter:
    """One run at an MLflow server or store: what finds it, opens it and ends it.

    A server that fails later is warned of once and then left alone: a night's training must not end with it.

    Args:
        uri: Tracking URI, for instance ``http://host:5000`` or ``sqlite:///mlflow.db``.

    Raises:
        MissingExtraError: MLflow is not installed.
        UsageError: The URI cannot be used.
    """

    EXPERIMENT = "edgeseg"
    STATES: Mapping[Status, str] = {
        "finished": "FINISHED",
        "stopped": "KILLED",
        "interrupted": "KILLED",
        "failed": "FAILED",
    }

    def __init__(self, uri: str) -> None:
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            raise MissingExtraError.of("--mlflow", "mlflow", "mlflow") from error
        self._failure, self._working = MlflowException, True
        self.run_id: str | None = None
        try:
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(self.EXPERIMENT)
            self._experiment = (
                found.experiment_id if found else self._client.create_experiment(self.EXPERIMENT)
            )
        except MlflowException as error:
            raise UsageError(
                f"--mlflow {without_password(uri)}",
                expected="an MLflow tracking server or store",
                found=" ".join(str(error).replace(uri, without_password(uri)).split())[:300],
                next_step="Start the server, or use a store such as sqlite:///mlflow.db.",
            ) from error

    def open(self, name: str, tags: Mapping[str, str], params: Mapping[str, Any], *, continued: bool) -> None:
        """Begin a run of these tags, or go on with the latest that has them where it is ``continued``."""
        self._try(lambda: self._open(name, tags, params, continued))

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        """Metrics of a step."""
        self._try(lambda: self._log(numbers, step))

    def keep(self, files: Iterable[Path]) -> None:
        """Files, and folders with what is in them, as the run's artefacts."""
        self._try(lambda: self._keep(files))

    def close(self, status: Status) -> None:
        """End the run."""
        self._try(lambda: self._client.set_terminated(self.run_id, self.STATES[status]))

    def _open(self, name: str, tags: Mapping[str, str], params: Mapping[str, Any], continued: bool) -> None:
        wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
        earlier = self._client.search_runs([self._experiment], wanted) if continued else []
        if earlier:
            self.run_id = earlier[0].info.run_id
            self._client.update_run(self.run_id, status="RUNNING")
            return
        self.run_id = self._client.create_run(self._experiment, run_name=name, tags=dict(tags)).info.run_id
        for key, value in _flat(params):
            self._client.log_param(self.run_id, key, value)

    def _log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, number in numbers.items():
            self._client.log_metric(self.run_id, name, number, step=step)

    def _keep(self, files: Iterable[Path]) -> None:
        for file in files:
            if file.is_dir():
                self._client.log_artifacts(self.run_id, str(file))
            else:
                self._client.log_artifact(self.run_id, str(file))

    def _try(self, call: Callable[[], None]) -> None:
        if not self._working:
            return
        try:
            call()
        except (self._failure, OSError) as error:
            self._working = False
            _log.warning("MLflow failed and gets no more of this run; training goes on: %s", error)


class MLflowTracker(MLflowReporter, Observer):
    """Parameters, metrics of each epoch and the run folder's files at an MLflow server or store.

    A resumed run continues its MLflow run.

    Args:
        uri: As :class:`MLflowReporter` takes it.
        parent: Id of the MLflow run that this one is a child of.

    Raises:
        MissingExtraError, UsageError: As :class:`MLflowReporter`.
    """

    def __init__(self, uri: str, parent: str | None = None) -> None:
        super().__init__(uri)
        self._parent = {"mlflow.parentRunId": parent} if parent else {}

    @override
    def started(self, run: Run) -> None:
        self._folder = run.folder.path
        tags = {"edgeseg.run_folder": str(self._folder.resolve()), **self._parent}
        self.open(
            self._folder.name, tags, run.recipe.model_dump(mode="json"), continued=bool(run.first_epoch)
        )

    @override
    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        self.log(_numbers(row), row.epoch)

    @override
    def ended(self, status: Status, summary: Mapping[str, Any]) -> None:
        if self.run_id is None:
            return
        if summary:
            self.log({"label_resolution_miou": summary["miou"]}, summary["epochs"])
        self.keep([self._folder])
        self.close(status)


class MLflowParent:
    """A run at MLflow whose children are other runs. One that is continued goes on in its own.

    Use it in a ``with`` statement, whose end is the run's.

    Args:
        uri: As :class:`MLflowReporter` takes it.
        kind: What it is of, for the tag by which it is found again: ``comparison``.
        folder: Of the whole; its name is the run's.
        params: Of the run.

    Raises:
        MissingExtraError, UsageError: As :class:`MLflowReporter`.
    """

    def __init__(self, uri: str, kind: str, folder: Path, params: Mapping[str, Any]) -> None:
        self._run = MLflowReporter(uri)
        tags = {f"edgeseg.{kind}": str(folder.resolve())}
        self._run.open(folder.name, tags, params, continued=True)

    @property
    def run_id(self) -> str | None:
        """What the runs' trackers take as their parent; ``None`` where MLflow failed."""
        return self._run.run_id

    def note(self, numbers: Mapping[str, float], step: int, files: Iterable[Path]) -> None:
        """The numbers so far, and the files as they are now."""
        self._run.log(numbers, step)
        self._run.keep(files)

    def __enter__(self) -> MLflowParent:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._run.close("interrupted" if interrupted else "failed" if kind else "finished")


def _numbers(row: EpochRow) -> dict[str, float]:
    return {name: value for name, value in asdict(row).items() if name != "epoch"}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
