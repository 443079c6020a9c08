"""Fixtures that every part of the tests shares."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseg.training.allocator import keep_freed_memory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# A shell starts what it puts in the background deaf to Ctrl-C, and what these tests start would be deaf too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# As the commands do: it halves what the kernel does for the tests that train.
keep_freed_memory()

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def project_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real driving data beside the project; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"real driving data is not at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="module", autouse=True)
def _graphs_are_let_go() -> Iterator[None]:
    yield
    let_graphs_go()


def let_graphs_go() -> None:
    """Keras and TensorFlow keep the graph of every model that a process made: 12 GiB by the end."""
    if keras := sys.modules.get("keras"):
        keras.backend.clear_session()
        gc.collect()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's own cache."""
    monkeypatch.setenv("EDGESEG_CACHE", str(tmp_path_factory.getbasetemp() / "edgeseg-cache"))
