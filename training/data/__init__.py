"""Datasets: opened by ``open_dataset``, checked by ``check_dataset``, decoded once by ``prepare``."""

from __future__ import annotations

from edgeseg.training.data.cache import CachedSplit, prepare
from edgeseg.training.data.check import CheckReport, check_dataset
from edgeseg.training.data.dataset import Dataset, Finding, Item
from edgeseg.training.data.spec import DATASETS, check_spec, open_dataset

__all__ = [
    "DATASETS",
    "CachedSplit",
    "CheckReport",
    "Dataset",
    "Finding",
    "Item",
    "check_dataset",
    "check_spec",
    "open_dataset",
    "prepare",
]
