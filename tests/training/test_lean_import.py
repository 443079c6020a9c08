"""Keras imported without what it takes along only because it is installed."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

_SCRIPT = """
import sys
from edgeseg.training.lean_import import import_keras

import_keras()
taken = {name for name in ("matplotlib", "pandas", "sklearn") if name in sys.modules}
assert not taken, taken

import keras, numpy, sklearn.metrics, matplotlib.figure
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(numpy.ones((4, 2), "float32"), numpy.ones((4, 1), "float32"), verbose=0)
assert sklearn.metrics.accuracy_score([1, 0], [1, 0]) == 1
"""


@pytest.mark.heavy
def test_they_are_held_back_for_keras_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_what_was_imported_before_stays_and_the_rest_comes_back_where_keras_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edgeseg.training.lean_import import import_keras

    for name in ("pandas", "matplotlib"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = ModuleType("sklearn")
    monkeypatch.setitem(sys.modules, "sklearn", before)
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setattr(sys, "meta_path", [])
    with pytest.raises(ModuleNotFoundError, match="keras"):
        import_keras()
    assert not {"pandas", "matplotlib"} & set(sys.modules)
    assert sys.modules["sklearn"] is before
