"""Layers that are neither Keras's nor KerasHub's: what Keras must know before it can load a file of them."""

from __future__ import annotations

import importlib
from typing import Any

_OWN = "edgeseg.training.models."


def import_own_layers(config: Any) -> None:
    """Import the modules of this package that a serialised model takes layers from, which registers these.

    Keras looks up a registered layer among those of the modules that are loaded, and loads none by itself
    but its own. Other modules than this package's are never imported.

    Args:
        config: A Keras config, as in the ``config.json`` of a ``.keras`` file.
    """
    if isinstance(config, list | tuple):
        for item in config:
            import_own_layers(item)
    elif isinstance(config, dict):
        module = config.get("module")
        if isinstance(module, str) and module.startswith(_OWN):
            importlib.import_module(module)
        for item in config.values():
            import_own_layers(item)
