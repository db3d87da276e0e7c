"""The batch script of a step, by submitit."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import submitit

from bsou_dist.cluster.job import MARK, STOPPED
from bsou_dist.cluster.options import DEFAULT_ENVIRONMENT, SlurmOptions
from bsou_dist.cluster.plan import Step

TOLD_TO_STOP = "75 | 138 | 140"
"""Exit codes of srun; the last two are 128 + SIGUSR1 and SIGUSR2, of a task that was told before
Python had started.
"""


class Executor(submitit.SlurmExecutor):
    """Submitit's, able to write a script where there is no SLURM."""

    @classmethod
    def name(cls) -> str:
        """As submitit's own: plugins and job environments go by it."""
        return "slurm"

    @classmethod
    def affinity(cls) -> int:
        """Available everywhere; whoever submits looks for sbatch first."""
        return 1

    def script(self, jobs: int) -> str:
        """The batch script, exactly as submitting so many jobs at once would write it."""
        array = {"map_count": jobs} if jobs > 1 else {}
        self.parameters.update(array)
        text: str = self._make_submission_file_text(self._submitit_command_str, "")
        for key in array:
            del self.parameters[key]
        return text


def make_executor(step: Step, folder: Path, dependency: str | None) -> Executor:
    """What submits the jobs of a step, logging to `folder`.

    `dependency` is as sbatch takes it; a job whose dependency cannot come true any more is
    cancelled.
    """
    options, others = step.options, dict(step.options.sbatch)
    if dependency:
        others |= {"dependency": dependency, "kill-on-invalid-dep": "yes"}
    if options.mem:
        others["mem"] = options.mem
    executor = Executor(folder, python=interpreter(options, folder))
    executor.update_parameters(
        job_name=options.job_name or step.name,
        nodes=options.nodes,
        ntasks_per_node=options.tasks_on_node,
        gpus_per_node=options.gpus_per_node or None,
        cpus_per_task=options.cpus_per_task,
        partition=options.partition,
        account=options.account,
        qos=options.qos,
        constraint=options.constraint,
        exclusive=options.exclusive or None,
        time=options.time,
        wckey=None,
        signal_delay_s=options.signal_lead_s,
        stderr_to_stdout=True,
        array_parallelism=len(step.commands),
        srun_args=_srun(options, folder),
        setup=_setup(options, folder),
        teardown=_teardown(),
        additional_parameters={**others, "requeue": True},
    )
    return executor


def interpreter(options: SlurmOptions, folder: Path) -> str:
    """The shell's words that start a shielded Python, in the container if there is one."""
    words = [sys.executable]
    if options.container:
        words = ["python3"]
        if options.container.endswith(".sif"):
            binds = [argument for path in _seen(options, folder) for argument in ("--bind", path)]
            gpus = ["--nv"] if options.gpus_per_node else []
            words = [
                "apptainer",
                "exec",
                *gpus,
                *binds,
                "--pwd",
                str(Path.cwd()),
                options.container,
                *words,
            ]
    return shlex.join([*words, "-m", "bsou_dist.cluster.blocked_signals"])


def _seen(options: SlurmOptions, folder: Path) -> list[str]:
    """Folders that must be in a container at the place where they are outside."""
    return list(dict.fromkeys(str(path.absolute()) for path in (Path.cwd(), folder, *options.bind)))


def _srun(options: SlurmOptions, folder: Path) -> list[str]:
    """One failing task ends the others, whom SLURM would let hang; one that is done early does not;
    and from 22.05 on srun no longer takes the number of CPUs from sbatch.
    """
    arguments = ["--kill-on-bad-exit=1", "--wait=0", f"--cpus-per-task={options.cpus_per_task}"]
    if options.container and not options.container.endswith(".sif"):
        mounts = ",".join(f"{path}:{path}" for path in _seen(options, folder))
        arguments += [
            f"--container-image={options.container}",
            f"--container-mounts={mounts}",
            f"--container-workdir={Path.cwd()}",
        ]
    return arguments


def _setup(options: SlurmOptions, folder: Path) -> list[str]:
    """What the script does before its tasks.

    It puts a job that was told to stop back into the queue, unless that was its user's `scancel`.
    It does so here, and not in a task: once for all tasks, outside any container, and also for a
    task that could not do it. `srun` runs in the background, since a shell acts on signals only
    between commands: at the time limit a script has seconds.
    """
    defaults = {"OMP_NUM_THREADS": str(options.cpus_per_task), **DEFAULT_ENVIRONMENT}
    script = f"""\
stopped={shlex.quote(str(folder))}/"$SLURM_JOB_ID"_{MARK}
rm -f "$stopped"
queued=
requeue() {{
    case $(scontrol -o show job "$SLURM_JOB_ID") in
        *" JobState=RUNNING "* | *" Reason=TimeLimit "*) ;;
        *) return ;; # cancelled
    esac
    if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {options.max_restarts} ]; then
        echo "told to stop after {options.max_restarts} restarts: not put into the queue again"
    else
        scontrol requeue "$SLURM_JOB_ID" && queued=yes &&
            echo "told to stop, and put into the queue again"
    fi
}}
# Over time, and the tasks have not stopped: the run goes on from its last checkpoint.
at_the_limit() {{
    case $(scontrol -o show job "$SLURM_JOB_ID") in *" Reason=TimeLimit "*) requeue ;; esac
}}
trap at_the_limit TERM
trap : USR1 USR2
srun() {{
    command srun "$@" &
    while kill -0 $! 2>/dev/null; do wait $!; done
    wait $!
}}"""
    return [
        *script.splitlines(),
        *(
            f"export {name}=${{{name}:-{value}}}"
            for name, value in defaults.items()
            if name not in options.env
        ),
        *(f"export {name}={shlex.quote(value)}" for name, value in options.env.items()),
    ]


def _teardown() -> list[str]:
    """What the script does after its tasks."""
    return f"""\
code=$?
case $code in {TOLD_TO_STOP}) touch "$stopped" ;; esac
if [ -e "$stopped" ] && [ -z "$queued" ]; then
    code={STOPPED}
    requeue
fi
rm -f "$stopped"
exit $code""".splitlines()
