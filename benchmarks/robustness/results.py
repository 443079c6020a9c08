"""What a robustness run found, as values; other modules write them as JSON, Markdown, plots and a page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.benchmarks.calibration import Calibration, calibration_of
from edgeseg.benchmarks.corruptions import CORRUPTIONS
from edgeseg.benchmarks.host import NOT_MEASURED, Host
from edgeseg.benchmarks.robustness.counts import Tally
from edgeseg.benchmarks.robustness.flicker import Flicker
from edgeseg.benchmarks.robustness.plan import CLEAN, Cell, LabelledImages, Suite
from edgeseg.runtimes import RUNTIMES
from edgeseg.segmenter import Segmenter

SCHEMA = 1
NOT_COVERED = {
    "real weather": "all of it is drawn: it compares models, and does not say how one fares in real snow",
    "combinations": "each corruption comes alone; a wet night has several at once",
}
"""What this suite does not cover on any machine, and why."""


@dataclass(frozen=True)
class BundleRobustness:
    """What one bundle did in every cell; shares are from 0 to 1, at label resolution.

    *Retained* is the mIoU of a cell divided by that of the clean images: 1 is no loss, 0 nothing left.
    """

    name: str
    path: str
    digest: str
    runtime: str
    runtime_version: str
    precision: str
    height: int
    width: int
    tallies: Mapping[Cell, Tally]
    flickers: Mapping[Cell, Flicker]

    @classmethod
    def of(
        cls, name: str, segmenter: Segmenter, tallies: Mapping[Cell, Tally], flickers: Mapping[Cell, Flicker]
    ) -> BundleRobustness:
        """The results of a loaded bundle."""
        return cls(
            name=name,
            path=str(segmenter.bundle.path),
            digest=segmenter.bundle.digest,
            runtime=segmenter.runtime_name,
            runtime_version=str(RUNTIMES[segmenter.runtime_name].version()),
            precision=segmenter.model.precision,
            height=segmenter.height,
            width=segmenter.width,
            tallies=tallies,
            flickers=flickers,
        )

    @property
    def kind(self) -> str:
        """Runtime and precision in words."""
        return f"{self.runtime} {self.precision}"

    @property
    def clean_miou(self) -> float:
        return self.tallies[CLEAN].scores.miou

    @property
    def cells(self) -> list[Cell]:
        """All but the clean one."""
        return [cell for cell in self.tallies if cell != CLEAN]

    @property
    def mean_miou(self) -> float:
        """The mean over all cells but the clean one."""
        return float(np.mean([self.miou(cell) for cell in self.cells]))

    def miou(self, cell: Cell) -> float:
        """The mIoU of a cell."""
        return self.tallies[cell].scores.miou

    def retained(self, cell: Cell) -> float:
        """The part of the clean mIoU that is left in a cell."""
        return self.miou(cell) / self.clean_miou

    def mean_retained(self, cells: Iterable[Cell] | None = None) -> float:
        """The mean over some cells, each of equal weight; by default all."""
        return float(np.mean([self.retained(cell) for cell in (self.cells if cells is None else cells)]))

    def calibration(self, cells: Iterable[Cell]) -> Calibration | None:
        """The calibration of all pixels of some cells; ``None`` where the bundle gives no confidence."""
        counts = [c for cell in cells if (c := self.tallies[cell].confidences) is not None]
        return calibration_of(np.sum(counts, axis=0)) if counts else None

    def to_dict(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "path": self.path,
            "digest": self.digest,
            "runtime": self.runtime,
            "runtime_version": self.runtime_version,
            "precision": self.precision,
            "height": self.height,
            "width": self.width,
            "clean": self._cell(CLEAN, class_names),
            "mean_miou": self.mean_miou,
            "mean_retained": self.mean_retained(),
            "cells": [self._cell(cell, class_names) for cell in self.cells],
            "flicker": [
                {"corruption": cell.corruption, "severity": cell.severity, **flicker.to_dict()}
                for cell, flicker in self.flickers.items()
            ]
            or NOT_MEASURED,
        }

    def _cell(self, cell: Cell, class_names: tuple[str, ...]) -> dict[str, Any]:
        tally = self.tallies[cell]
        scores, calibration = tally.scores, tally.calibration
        return {
            "corruption": cell.corruption,
            "severity": cell.severity,
            "miou": scores.miou,
            "retained": self.retained(cell),
            "pixel_accuracy": scores.pixel_accuracy,
            "class_iou": {
                name: None if np.isnan(iou) else float(iou)
                for name, iou in zip(class_names, scores.iou, strict=True)
            },
            "calibration": calibration.to_dict() if calibration else NOT_MEASURED,
        }


@dataclass(frozen=True)
class RobustnessResult:
    """A whole run. The bundles are compared with the first of them."""

    created: str
    command: str
    host: Host
    images: LabelledImages
    suite: Suite
    threads: int
    bundles: tuple[BundleRobustness, ...]

    @property
    def calibrated(self) -> list[BundleRobustness]:
        """The bundles that give their confidence."""
        return [bundle for bundle in self.bundles if bundle.tallies[CLEAN].confidences is not None]

    @property
    def source_name(self) -> str:
        """The video without its folder."""
        return Path(self.suite.source or "").name

    def cells_of(self, corruption: str | None = None, severity: int | None = None) -> list[Cell]:
        """The cells of one corruption, or of one severity; the clean one is in none."""
        return [
            cell
            for cell in self.suite.cells
            if cell != CLEAN and corruption in (None, cell.corruption) and severity in (None, cell.severity)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        images, suite = self.images, self.suite
        return {
            "schema": SCHEMA,
            "created": self.created,
            "command": self.command,
            "state": "complete",
            "host": self.host.to_dict(),
            "dataset": images.dataset,
            "split": images.split,
            "samples": images.count,
            "fingerprint": images.fingerprint,
            "seed": suite.seed,
            "threads": self.threads,
            "corruptions": [
                {"name": name, "group": CORRUPTIONS[name].group, "shows": CORRUPTIONS[name].shows}
                for name in suite.corruptions
            ],
            "severities": list(suite.severities),
            "video": suite.source or NOT_MEASURED,
            "bundles": [bundle.to_dict(images.labels.names) for bundle in self.bundles],
            "not_covered": NOT_COVERED,
        }
