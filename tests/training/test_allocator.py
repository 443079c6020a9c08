"""Freed memory stays with the process, and only where nobody has said otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CODE = """
import ctypes, json, resource, sys
from edgeseg.training.allocator import keep_freed_memory
kept = keep_freed_memory() if sys.argv[1] == "keep" else None
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def step():
    block = libc.malloc(100 << 20)
    ctypes.memset(block, 1, 100 << 20)
    libc.free(block)

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(json.dumps([kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before]))
"""

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="not the GNU C library"
)


def faults(how: str, **environment: str) -> tuple[bool | None, int]:
    """Whether memory is kept, and how many pages five more steps of 100 MiB were given by the kernel."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_", "LD_PRELOAD"))}
    ran = subprocess.run(
        [sys.executable, "-c", CODE, how],
        env={**plain, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    kept, count = json.loads(ran.stdout)
    return kept, count


def test_the_next_step_takes_what_the_last_gave_back() -> None:
    kept, count = faults("keep")
    assert kept
    # Without it, in pages of 4 KiB: 128,000; where the kernel gives pages of 2 MiB, 250.
    assert count < 100
    assert faults("plain")[1] > 100


def test_what_the_environment_says_is_left_alone() -> None:
    assert faults("keep", MALLOC_ARENA_MAX="2")[0] is False
