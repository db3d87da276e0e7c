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

from bsou_dist.cluster.job import BsouJob, Earlier, Entry
from bsou_dist.cluster.plan import Plan, Step
from bsou_dist.cluster.script import make_executor
from bsou_dist.common.errors import InputError


@dataclass(frozen=True)
class Submitted:
    """A job in the queue."""

    title: str
    step: Step
    job_id: str
    log: Path
    """Of its first task."""
    result: Path
    """There when the job has ended well."""


def submit(plan: Plan, main: Entry) -> list[Submitted]:
    """Put all steps of a plan into the queue; each waits for those it comes after.

    Raises:
        InputError: no SLURM here, or it refuses a job (the message is its own); none is left in the
            queue then.
    """
    require_slurm()
    folder = _fresh_folder(plan.folder)
    done: dict[str, list[Submitted]] = {}
    for step in plan.steps:
        ids = {name: _queue_id(jobs) for name, jobs in done.items()}
        executor = make_executor(step, folder, _dependency(step, ids))
        earlier = tuple(
            Earlier(job.title, job.result, job.log) for name in step.after_any for job in done[name]
        )
        jobs = [BsouJob(main, command, folder, earlier) for command in step.commands]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what it also raises
                queued = executor.submit_array(jobs)
        except FailedJobError as error:
            before = [job for jobs in done.values() for job in jobs]
            for job in before:
                submitit.SlurmJob(folder, job.job_id).cancel(check=False)
            if not before:
                shutil.rmtree(folder)
                with contextlib.suppress(OSError):  # it holds the logs of others
                    folder.parent.rmdir()
            reason = ", ".join(
                line.removeprefix("sbatch: ").removeprefix("error: ")
                for line in str(error).splitlines()
            )
            raise InputError(
                f"SLURM refuses the job {step.name}: {reason}; mend its options ('sinfo' lists "
                "partitions, 'sacctmgr show assoc' accounts)"
            ) from None
        done[step.name] = [
            Submitted(title, step, job.job_id, job.paths.stdout, job.paths.result_pickle)
            for title, job in zip(step.titles, queued, strict=True)
        ]
    return [job for jobs in done.values() for job in jobs]


def require_slurm() -> None:
    """InputError if nothing can be submitted from here."""
    if not shutil.which("sbatch") or not shutil.which("srun"):
        raise InputError(
            "this machine has no SLURM (no sbatch and srun); run this on a login node of the "
            "cluster, "
            "look at the scripts with --dry-run, or run it here with --local (packing: --executor "
            "local)"
        )
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, text=True, check=False)
    if asked.returncode:
        said = asked.stderr.strip().rpartition("\n")[2].removeprefix("sinfo: ")
        raise InputError(
            f"SLURM cannot be reached from this machine ({said}); run this on a login node of the "
            "cluster, or wait until its controller is back"
        )


def scripts(plan: Plan) -> list[str]:
    """The batch scripts of all steps as `submit` would hand them in, but for ids and the date,
    which are not known.
    """
    folder = (plan.folder / "DATE").absolute()
    ids = {step.name: f"<id of {step.name}>" for step in plan.steps}
    return [
        make_executor(step, folder, _dependency(step, ids)).script(len(step.commands))
        for step in plan.steps
    ]


def _dependency(step: Step, ids: dict[str, str]) -> str | None:
    wanted = [
        f"{kind}:{ids[name]}"
        for kind, names in (("afterok", step.after), ("afterany", step.after_any))
        for name in names
    ]
    return ",".join(wanted) or None


def _queue_id(jobs: list[Submitted]) -> str:
    """Of a job, or of a whole array."""
    return jobs[0].job_id.split("_")[0]


def _fresh_folder(parent: Path) -> Path:
    """A folder of its own for what is submitted: where job ids start over, an old job's files would
    pass for a new one's.
    """
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
    for attempt in range(100):
        folder = parent.absolute() / (f"{stamp}-{attempt}" if attempt else stamp)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("a hundred submissions in one second")
