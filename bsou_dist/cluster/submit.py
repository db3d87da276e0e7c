"""From a plan to jobs in the queue, or to the scripts that would put them there."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import submitit
from submitit.core.utils import FailedJobError

from bsou_dist.cluster.job import Bsou, BsouJob, EarlierJob
from bsou_dist.cluster.plan import Plan, Step
from bsou_dist.cluster.script import make_executor
from bsou_dist.common.errors import InputError


@dataclass(frozen=True)
class SubmittedJob:
    """A job in the queue."""

    title: str
    step: Step
    job_id: str
    """`12`, or `12_3` in an array."""
    log: Path
    """What its first task prints."""
    result: Path
    """There when the job has ended well."""


def submit(plan: Plan, bsou: Bsou) -> list[SubmittedJob]:
    """Put all steps of a plan into the queue; each waits for those it comes after.

    Raises:
        InputError: no SLURM here, or it refuses a job (the message is its own); none is left in the
            queue then.
    """
    require_slurm()
    folder = _fresh_folder(plan.folder)
    submitted: dict[str, list[SubmittedJob]] = {}
    for step in plan.steps:
        queue_ids = {name: queue_id(jobs[0]) for name, jobs in submitted.items()}
        executor = make_executor(step, folder, _dependency(step, queue_ids))
        earlier = tuple(
            EarlierJob(job.title, job.result, job.log)
            for name in step.after_any
            for job in submitted[name]
        )
        jobs = [BsouJob(bsou, command, folder, earlier) for command in step.commands]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it also raises
                queued = executor.submit_array(jobs)
        except FailedJobError as error:
            before = [job for jobs in submitted.values() for job in jobs]
            _take_back(before, folder)
            raise InputError(
                f"SLURM refuses the job {step.name}: {_reason(error)}; mend its options ('sinfo' "
                "lists partitions, 'sacctmgr show assoc' accounts)"
            ) from None
        submitted[step.name] = [
            SubmittedJob(title, step, job.job_id, job.paths.stdout, job.paths.result_pickle)
            for title, job in zip(step.titles, queued, strict=True)
        ]
    return [job for jobs in submitted.values() for job in jobs]


def require_slurm() -> None:
    """Check that jobs can be submitted from here.

    Raises:
        InputError: this machine has no SLURM, or its controller does not answer.
    """
    if not shutil.which("sbatch") or not shutil.which("srun"):
        raise InputError(
            "this machine has no SLURM (no sbatch and srun); run this on a login node of the "
            "cluster, look at the scripts with --dry-run, or run it here with --local (packing: "
            "--executor local)"
        )
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, check=False)
    if asked.returncode:
        _, _, last_line = asked.stderr.strip().rpartition("\n")
        reason = last_line.removeprefix("sinfo: ")
        raise InputError(
            f"SLURM cannot be reached from this machine ({reason}); run this on a login node of "
            "the cluster, or wait until its controller is back"
        )


def scripts(plan: Plan) -> list[str]:
    """Write the batch scripts of all steps as `submit` would hand them in.

    Only ids and the date, which are not known, have names in their place.
    """
    folder = (plan.folder / "DATE").absolute()
    queue_ids = {step.name: f"<id of {step.name}>" for step in plan.steps}
    texts = []
    for step in plan.steps:
        executor = make_executor(step, folder, _dependency(step, queue_ids))
        texts.append(executor.script(len(step.commands)))
    return texts


def queue_id(job: SubmittedJob) -> str:
    """The id under which the queue has a job; the jobs of an array share it."""
    return job.job_id.split("_")[0]


def _dependency(step: Step, queue_ids: dict[str, str]) -> str | None:
    """What a step waits for, as sbatch takes it; None for nothing."""
    wanted = [f"afterok:{queue_ids[name]}" for name in step.after]
    wanted += [f"afterany:{queue_ids[name]}" for name in step.after_any]
    return ",".join(wanted) or None


def _take_back(jobs: list[SubmittedJob], folder: Path) -> None:
    """Cancel the jobs of a plan of which SLURM has refused a later one."""
    for job in jobs:
        submitit.SlurmJob(folder, job.job_id).cancel(check=False)
    if not jobs:  # nothing will ever write into the folder
        shutil.rmtree(folder)
        with contextlib.suppress(OSError):  # it holds the logs of others
            folder.parent.rmdir()


def _reason(error: FailedJobError) -> str:
    """What sbatch has said, in one line."""
    lines = str(error).splitlines()
    return ", ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines)


def _fresh_folder(parent: Path) -> Path:
    """Make a folder of its own for what is submitted.

    Where a cluster's job ids start over, an old job's files would pass for a new one's.
    """
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    for attempt in range(100):
        name = f"{stamp}-{attempt}" if attempt else stamp
        folder = parent.absolute() / name
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("a hundred submissions in one second")
