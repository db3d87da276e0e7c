"""Random numbers that are a pure function of what they are for.

Nothing here has a state: the numbers for (seed, epoch, key, view) are the same on every rank,
worker and restart.
"""

from __future__ import annotations

import hashlib

import numpy as np


def _digest(size: int, *parts: object) -> int:
    # The unit separator keeps ("ab", "c") apart from ("a", "bc").
    return int.from_bytes(
        hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=size).digest(), "big"
    )


def keyed_generator(*parts: object) -> np.random.Generator:
    """Counter-based generator (Philox) keyed by a hash of `parts`; the first part names the
    purpose.
    """
    return np.random.Generator(np.random.Philox(key=_digest(16, *parts)))


def keyed_choice(count: int, *parts: object) -> int:
    """One of 0 .. count-1, as a function of `parts`."""
    return _digest(8, *parts) % count


def keyed_permutation(count: int, *parts: object) -> np.ndarray:
    """Permutation of 0 .. count-1, int64 (count,), as a function of `parts`.

    Sorts raw Philox words: numpy guarantees that raw stream across its versions, but not
    `Generator.permutation`.
    """
    words = np.random.Philox(key=_digest(16, *parts)).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64)
