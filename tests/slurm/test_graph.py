"""Jobs that wait for one another: one fails, is reported, and the table of the others is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from real_cluster import Cluster

pytestmark = pytest.mark.slurm


@pytest.mark.slow
def test_one_failing_run_leaves_the_others_and_the_table(
    cluster: Cluster, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    config = write_config(
        tracking={"experiment": "graph"},
        pretrain={"global_batch": 12, "epochs": 1},
        finetune={"tasks": ["placenta"], "encoder": "tuned", "epochs": 1, "global_batch": 8},
    )
    jobs: dict[str, Any] = {
        "pretrain": {
            "bsou": f"train {config} name=pretrained finetune=null",
            "slurm": {"nodes": 2},
        },
        "tune": {
            "bsou": f"train {config} pretrain=null stage1={tmp_path}/runs/pretrained "
            f"name=tuned-{{each}}",
            "after": "pretrain",
            "each": ["good", "bad stage1=nowhere"],
        },
        "table": {"bsou": f"compare graph --output {tmp_path}/runs", "after_any": "tune"},
        "never": {"bsou": f"evaluate {tmp_path}/runs/tuned-bad", "after": "tune"},
    }
    file = tmp_path / "jobs.yaml"
    file.write_text(yaml.safe_dump({"output": f"{tmp_path}/runs", "jobs": jobs}, sort_keys=False))
    done = cluster.run(file)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pretrain: COMPLETED" in done.stdout
    assert "tune good: COMPLETED" in done.stdout
    assert "tune bad stage1=nowhere: FAILED, exit code 2; see " in done.stdout
    assert "table: COMPLETED" in done.stdout
    assert "never: CANCELLED" in done.stdout, "nothing waits for ever"
    assert "MTSCon" in done.stdout, "the table is shown"
    assert "tune bad stage1=nowhere did not end well; see " in done.stdout, (
        "and says what is not in it"
    )


def test_what_slurm_refuses_is_told_once_and_nothing_stays_in_the_queue(
    cluster: Cluster, tmp_path: Path
) -> None:
    jobs = {
        "fine": {"bsou": "verify nowhere", "slurm": {"sbatch": {"begin": "now+1hour"}}},
        "refused": {"bsou": "verify nowhere", "slurm": {"partition": "nope"}},
    }
    file = tmp_path / "refused.yaml"
    file.write_text(yaml.safe_dump({"output": f"{tmp_path}/runs", "jobs": jobs}))
    done = cluster.run(file)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(
        "slurm.py: SLURM refuses the job refused: invalid partition specified: nope"
    )
    assert cluster.job("fine")["JobState"] == "CANCELLED"
