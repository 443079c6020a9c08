"""Where edgeseg keeps what can be made again: decoded datasets and built engines."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """``$EDGESEG_CACHE``, or else ``edgeseg`` in ``$XDG_CACHE_HOME``, which is ``~/.cache`` by default."""
    own = os.environ.get("EDGESEG_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "edgeseg"
