"""The C library's allocator, told to keep what TensorFlow gives back: the next step takes as much again."""

from __future__ import annotations

import ctypes
import os
import sys

# From malloc.h of the GNU C library; mallopt(3) tells what each does.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_NEVER = -1
_TOP_PAD_BYTES = 64 << 20


def keep_freed_memory() -> bool:
    """Keep freed memory in this process, for the rest of its life. Call it before TensorFlow starts threads.

    TensorFlow takes and frees the activations of every layer in every step, tens of megabytes each. The GNU
    C library maps such blocks from the kernel one by one and gives each back at once, so that every step
    touches all of its pages anew: a quarter of the processor's time was the kernel's (docs/measurements.md).

    Returns:
        Whether it was done. It is not where the C library is another, or where the environment says how
        memory is to be had (``MALLOC_…``, ``GLIBC_TUNABLES``, ``LD_PRELOAD``).
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")) for name in os.environ):
        return False
    # No other C library has it.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    settings = (
        (_M_TRIM_THRESHOLD, _NEVER),
        (_M_TOP_PAD, _TOP_PAD_BYTES),
        (_M_MMAP_MAX, 0),
        # Another arena's heaps are of 64 MiB, and what is larger would be mapped after all.
        (_M_ARENA_MAX, 1),
    )
    accepted = [mallopt(name, value) == 1 for name, value in settings]
    return all(accepted)
