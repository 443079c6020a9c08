"""On the path of a process that labels: notes each frame it labels, and takes its time over it.

``EDGESEG_TEST_LABELLED`` names the file for the notes, ``EDGESEG_TEST_SECONDS`` says how long a frame takes.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import os
import sys
import time
from pathlib import Path
from typing import Any

MODULE = "edgeseg.labelling.shards"


class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            watch(module.ShardWriter)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def watch(writer: Any) -> None:
    add = writer.add

    def noted(self: Any, segmentation: Any, source: str, frame: int) -> None:
        with Path(os.environ["EDGESEG_TEST_LABELLED"]).open("a") as file:
            file.write(f"{source}/{frame:08d} {os.getpid()}\n")
        time.sleep(float(os.environ["EDGESEG_TEST_SECONDS"]))
        add(self, segmentation, source, frame)

    writer.add = noted


if "EDGESEG_TEST_LABELLED" in os.environ:
    sys.meta_path.insert(0, Watch())
