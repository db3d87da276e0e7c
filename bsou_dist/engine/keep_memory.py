"""How the C library keeps memory."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER_BYTES = 2**31 - 1


def keep_freed_memory() -> None:
    """Have this process keep large blocks that it frees, instead of giving them back to the system.

    On a CPU a step allocates its activations anew. Given back and asked for again, every page of
    them is cleared and mapped again, a tenth of a step of r3d_18 (`benchmarks/step.py`). The
    process stays as large as it once was. With glibc only; another C library is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER_BYTES)
