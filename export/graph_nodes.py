"""The graph of a functional Keras model, as its passes here walk it."""

from __future__ import annotations

from typing import Any

import keras


def nodes_of(model: keras.Model) -> list[Any]:
    """Every call of a layer, from the inputs on; what Keras knows of its graph is in no public attribute."""
    # A Sequential keeps its graph in a functional model of its own.
    graph = model._functional if isinstance(model, keras.Sequential) else model
    by_depth = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in nodes if node.input_tensors]
