"""Importing Keras without the packages that it imports only because they are installed."""

from __future__ import annotations

import sys

# Keras would take their tables, wrap its models for them and draw with them: edgeseg asks for none of it.
_HELD_BACK = ("matplotlib", "pandas", "sklearn")


def import_keras() -> None:
    """Import Keras and its backend as if matplotlib, pandas and scikit-learn were not installed.

    Where they are, that saves a third of the seconds and of the memory with which a command starts
    (docs/measurements.md). Afterwards they can be imported as ever. For a process of edgeseg's own: Keras
    takes no pandas table in it.

    Raises:
        ModuleNotFoundError: Keras or its backend is not installed.
    """
    if "keras" in sys.modules:
        return
    held_back = [name for name in _HELD_BACK if name not in sys.modules]
    # With None in its place, importing a module says that there is none.
    sys.modules.update(dict.fromkeys(held_back))
    try:
        import keras  # noqa: F401
    finally:
        for name in held_back:
            del sys.modules[name]
