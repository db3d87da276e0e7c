"""Random numbers that are a pure function of what they are for.

Nothing here has a state: the numbers for (seed, epoch, key, view) are the same on every rank,
worker and restart.
"""

from __future__ import annotations

import hashlib

import numpy as np

SEPARATOR = "\x1f"
"""The unit separator of ASCII, which keeps ("ab", "c") apart from ("a", "bc")."""


def keyed_generator(*parts: object) -> np.random.Generator:
    """Make a counter-based generator (Philox) keyed by a hash of `parts`.

    The first part names the purpose, so that no two uses share their numbers.
    """
    key = _hashed_int(parts, size_bytes=16)
    return np.random.Generator(np.random.Philox(key=key))


def keyed_choice(count: int, *parts: object) -> int:
    """Choose one of 0 .. count-1, as a function of `parts`."""
    return _hashed_int(parts, size_bytes=8) % count


def keyed_permutation(count: int, *parts: object) -> np.ndarray:
    """Permute 0 .. count-1 as a function of `parts`; int64, shape (count,).

    Sorts raw Philox words: numpy guarantees that raw stream across its versions, but not
    `Generator.permutation`.
    """
    key = _hashed_int(parts, size_bytes=16)
    words = np.random.Philox(key=key).random_raw(count)
    return np.argsort(words, kind="stable").astype(np.int64)


def _hashed_int(parts: tuple[object, ...], size_bytes: int) -> int:
    """Hash the text of `parts` to a whole number of `size_bytes` bytes, 0 or more."""
    text = SEPARATOR.join(map(str, parts))
    digest = hashlib.blake2b(text.encode(), digest_size=size_bytes).digest()
    return int.from_bytes(digest, "big")
