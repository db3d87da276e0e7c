"""Memory that the C library keeps instead of giving it back to the system."""

from __future__ import annotations

import ctypes

# From malloc.h of glibc.
M_TRIM_THRESHOLD = -1
M_MMAP_MAX = -4
NEVER_BYTES = 2**31 - 1
"""The largest threshold: memory at the top of the heap is never given back."""


def keep_freed_memory() -> None:
    """Have this process keep large blocks that it frees, instead of giving them back to the system.

    On a CPU a step allocates its activations anew. Given back and asked for again, every page of
    them is cleared and mapped anew, which takes a tenth of a step of r3d_18 (`benchmarks/step.py`).
    The price: the process stays as large as it once was. A C library other than glibc is left as it
    is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER_BYTES)
