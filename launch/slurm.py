"""Submit `bsou train` to SLURM: `python launch/slurm.py CONFIG [key.path=value ...] --nodes 4
--gpus-per-node 8`.
"""

from __future__ import annotations

import sys

from bsou_dist.cli import main
from bsou_dist.commands.slurm import run

if __name__ == "__main__":
    sys.exit(run(main, sys.argv[1:]))
