"""A measurement as two files: all numbers for machines, and what they come to for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edgeseg.atomic import write_text


def write_documents(values: Mapping[str, object], text: str, path: Path) -> None:
    """``PATH.json`` with the values and ``PATH.md`` with the text; ``path`` is given without a suffix."""
    write_text(
        path.with_name(path.name + ".json"),
        json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    )
    write_text(path.with_name(path.name + ".md"), text)
