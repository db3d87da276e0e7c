"""Copy an MLflow store while its server runs, as a tar to standard output: `python backup.py /store
> 2026-11-20.tar`.

The tar holds `mlflow.db` and `artifacts/`; unpacked into an empty store, it is that store again.
"""

from __future__ import annotations

import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import BinaryIO


def backup(store: Path, target: BinaryIO) -> None:
    """Write the tar.

    The database goes first, as SQLite's own consistent copy: what is logged meanwhile is missing
    from it, and an artifact of a run that it does not know yet does no harm.
    """
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=target, mode="w|") as tar:
        copy = Path(folder) / "mlflow.db"
        database = f"{(store / 'mlflow.db').resolve().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(database, uri=True)) as source,
            closing(sqlite3.connect(copy)) as to,
        ):
            source.backup(to)
        tar.add(copy, "mlflow.db")
        if (store / "artifacts").is_dir():
            tar.add(store / "artifacts", "artifacts")


if __name__ == "__main__":
    backup(Path(sys.argv[1]), sys.stdout.buffer)
