"""What a converter or quantiser makes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelBytes:
    """A model file, and its weights where the format keeps them in a file of their own."""

    data: bytes
    weights: bytes | None = None
