"""Pseudonyms: keyed hashes of identities, so that shards carry none and labels can still be joined.

Whoever lacks the key can neither reverse a pseudonym nor test a guess; whoever holds it can
recompute every one.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from bsou_dist.common.errors import InputError

_KEY_BYTES = 32
_HEX_CHARACTERS = 16  # 64 bits: a collision among a million clips has a chance of 3e-8


def default_private_dir(out: Path) -> Path:
    """Folder for the key, the map and the rejects of shard folder `out`: beside it, not inside."""
    return out.parent / f"{out.name}.private"


def load_or_create_key(path: Path) -> bytes:
    """Read the secret key (64 hex digits), or make one that only its owner can read.

    Raises:
        InputError: the file is there and holds no such key.
    """
    with contextlib.suppress(FileExistsError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
    return load_key(path)


def load_key(path: Path) -> bytes:
    """Read the secret key.

    Raises:
        InputError: no such file, or it holds no key.
    """
    try:
        key = bytes.fromhex(path.read_text().strip())
    except FileNotFoundError:
        raise InputError(
            f"no pseudonym key at {path}; 'bsou pack' writes it, and labels are joined by it"
        ) from None
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise InputError(
            f"{path} holds no pseudonym key ({2 * _KEY_BYTES} hex digits); "
            "restore the one that the shards were packed with"
        )
    return key


class Pseudonymizer:
    """HMAC-SHA256 of an identity, with the kind of identity hashed in, cut to 16 hex digits."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def fingerprint(self) -> str:
        """A hash that tells two keys apart and gives neither away."""
        return self._digest("key", "")

    def patient(self, patient_id: object) -> str:
        """Pseudonym of a patient."""
        return self._digest("patient", patient_id)

    def study(self, study_id: object) -> str:
        """Pseudonym of a study (one visit)."""
        return self._digest("study", study_id)

    def exam(self, exam_id: object) -> str:
        """Pseudonym of an exam (one device, operator and visit)."""
        return self._digest("exam", exam_id)

    def clip(self, name: object) -> str:
        """Pseudonym of a clip, from its path as the cohort table writes it, or its name where it
        is a part of a file.
        """
        return self._digest("clip", name)

    def site(self, name: object) -> str:
        """Pseudonym of a site."""
        return self._digest("site", name)

    def device(self, name: object) -> str:
        """Pseudonym of a maker and model."""
        return self._digest("device", name)

    def _digest(self, kind: str, identity: object) -> str:
        message = f"{kind}\0{identity}".encode()
        digest = hmac.new(self._key, message, hashlib.sha256)
        return digest.hexdigest()[:_HEX_CHARACTERS]
