"""Options of a job: what is refused. What they become in a batch script is in test_script.py."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from bsou_dist.cluster.options import SlurmOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": 0}, "greater than or equal to 1"),
        ({"gpus_per_node": 4, "tasks_per_node": 2}, "each GPU gets one task"),
        ({"time": 86400}, "in quotes"),
        ({"time": "a day"}, "'a day' is not a time limit"),
        ({"time": "2"}, "told to save as soon as it has started"),
        ({"time": "0:1:30"}, "told to save as soon as it has started"),
        ({"bind": ["/a:b"]}, "which containers take for their own"),
        ({"mem": "64 gigabytes"}, "is not an amount of memory"),
        ({"partition": "a\n#SBATCH --uid=0"}, "is not a name that SLURM takes"),
        ({"env": {"A B": "1"}}, "is not the name of an environment variable"),
        ({"sbatch": {"signal": "TERM"}}, "is set by this launcher"),
        ({"sbatch": {"nodes": "3"}}, "is set by this launcher"),
        ({"sbatch": {"reservation": "a b"}}, "is not an option of sbatch"),
        ({"gpu": 1}, "Extra inputs"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SlurmOptions(**options)
