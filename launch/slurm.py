"""Submit `bsou train` to SLURM.

Such as `python launch/slurm.py CONFIG [key.path=value ...] --nodes 4 --gpus-per-node 8`.
"""

from __future__ import annotations

import sys

from bsou_dist.cli import main as bsou
from bsou_dist.commands import slurm

if __name__ == "__main__":
    sys.exit(slurm.main(bsou, sys.argv[1:]))
