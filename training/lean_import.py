"""Importing Keras without the packages that it imports only because they are installed."""

from __future__ import annotations

import sys
import threading

# Keras would take their tables, wrap its models for them and draw with them: edgeseg asks for none of it.
_HELD_BACK = ("matplotlib", "pandas", "sklearn")


def import_keras() -> None:
    """Import Keras and its backend as if matplotlib, pandas and scikit-learn were not installed.

    Where they are, that saves a third of the CPU time and a sixth of the memory with which a command starts
    (docs/measurements.md). Afterwards they can be imported as ever, but for the rest of the process Keras
    takes no pandas table and wraps nothing for scikit-learn: for a process of edgeseg's own. In a thread
    beside others nothing is held back, for they would find the packages missing too.

    Raises:
        ModuleNotFoundError: Keras or its backend is not installed.
    """
    if sys.modules.get("keras"):
        return
    alone = threading.current_thread() is threading.main_thread()
    held_back = [name for name in _HELD_BACK if alone and name not in sys.modules]
    # With None in its place, importing a module says that there is none.
    sys.modules.update(dict.fromkeys(held_back))
    try:
        import keras  # noqa: F401
    finally:
        for name in held_back:
            sys.modules.pop(name, None)
