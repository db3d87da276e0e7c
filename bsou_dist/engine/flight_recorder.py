"""The last collectives of every rank, kept with a run that ended in one of them.

Torch records the collectives of a process in memory: what each was, with which sizes, from which
line of code, and whether it ended. From the records of all ranks,
`python -m torch.distributed.flight_recorder.fr_trace FOLDER -p flight-record-` tells which rank
did not take part in what. NCCL's own watchdog writes a record when a collective is over its time;
ours (engine/watchdog.py) ends a run before that, and writes it first.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import torch

PREFIX = "flight-record-"
"""Of a record's file in the run's folder; the rank follows, as torch has it."""

ENTRIES = "2000"
"""How many of the last collectives are remembered: the default of newer torch, said for all."""

WRITE_WITHIN_S = 20.0
"""How long writing a record may take in a process that hangs, in a driver perhaps."""


def record_flights(folder: Path) -> None:
    """Have torch remember collectives, and write them into `folder` when NCCL gives one up.

    To be called before a process group is made. What the environment says already is left alone.
    """
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", ENTRIES)
    os.environ.setdefault("TORCH_NCCL_DUMP_ON_TIMEOUT", "1")
    if "TORCH_NCCL_DEBUG_INFO_TEMP_FILE" not in os.environ:  # the older name of the next one
        os.environ.setdefault("TORCH_FR_DUMP_TEMP_FILE", str(folder.absolute() / PREFIX))


def keep_flight_record(folder: Path, rank: int) -> Path | None:
    """Write what torch remembers of this rank's collectives; None where that fails.

    Pickled as torch does it for its own analyser: NCCL's collectives on GPUs, gloo's on CPUs.
    """
    path = folder / f"{PREFIX}{rank}"
    written: list[Path] = []

    def write() -> None:
        # Torch has no public name for these, and its stubs do not know the first.
        name = "_dump_nccl_trace" if torch.cuda.is_initialized() else "_dump_fr_trace"
        path.write_bytes(getattr(torch._C._distributed_c10d, name)())
        written.append(path)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(WRITE_WITHIN_S)
    return written[0] if written else None
