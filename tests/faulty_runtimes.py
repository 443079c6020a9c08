"""Runtimes whose parsers fail as native code does: what a trial has to survive."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.bundle import Bundle, ModelFile
from edgeseg.errors import InferenceError


@dataclass(frozen=True)
class FaultyRuntime:
    """``fault`` names the method that happens on loading."""

    fault: str
    name: str = "onnx"
    formats: tuple[str, ...] = ("onnx",)
    package: str = "onnxruntime"
    builds_on_gpu: bool = False

    def version(self) -> str:
        return "0"

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> Any:
        return getattr(self, self.fault)()

    def segfaults(self) -> None:
        import ctypes

        ctypes.string_at(0)

    def aborts(self) -> None:
        os.abort()

    def exits(self) -> None:
        os._exit(3)

    def is_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def sleeps(self) -> None:
        time.sleep(600)

    def spins(self) -> None:
        while True:
            pass

    def allocates(self) -> None:
        held = []
        while True:
            held.append(np.ones(1 << 24, np.uint8))

    def raises(self) -> None:
        raise ZeroDivisionError("odd")

    def prints(self) -> Prints:
        return Prints()

    def fails_on_a_frame(self) -> FailsOnFrame:
        return FailsOnFrame()


class NeedsOtherMembers(FaultyRuntime):
    """As a runtime whose weights are in a file of their own, or that tests what it builds."""

    def load(self, bundle: Bundle, model: ModelFile, threads: int) -> Prints:
        bundle.golden()
        if set(bundle.members) != {model.file, "golden.npz", "report.json"}:
            raise KeyError(f"members {sorted(bundle.members)}")
        return Prints()


class Prints:
    """A model that writes to stdout, from Python and past it, and works."""

    def infer(self, image: np.ndarray) -> None:
        sys.stdout.write("noise")
        sys.stdout.flush()
        os.write(1, b"more noise")


class FailsOnFrame:
    def infer(self, image: np.ndarray) -> None:
        raise InferenceError("model", expected="a mask", found="an odd frame", next_step="Look at it.")
