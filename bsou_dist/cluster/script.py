"""The batch script of a step, by submitit."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import submitit

from bsou_dist.cluster.job import STOPPED_MARK
from bsou_dist.cluster.options import DEFAULT_ENVIRONMENT, SlurmOptions
from bsou_dist.cluster.plan import Step
from bsou_dist.common.exit_codes import BAD_INPUT, DONE, REQUEUE
from bsou_dist.common.progress_mark import PROGRESS_MARK_VARIABLE

SRUN_STOPPED = (REQUEUE, 128 + signal.SIGUSR1, 128 + signal.SIGUSR2)
"""Exit codes of srun when a job was told to stop; the last two before Python had started."""

SRUN_NOT_LAUNCHED = (233, 234, 235, 236)
"""Exit codes of srun when a node did not answer: the low byte of SLURM's errors 1001 to 1004, which
are of connecting, sending, receiving and closing.
"""


class Executor(submitit.SlurmExecutor):
    """Submitit's executor, able to write a script where there is no SLURM."""

    @classmethod
    def name(cls) -> str:
        """Give submitit's own name, which plugins and job environments go by."""
        return "slurm"

    @classmethod
    def affinity(cls) -> int:
        """Say that it is available everywhere; whoever submits looks for sbatch first."""
        return 1

    def script(self, jobs: int) -> str:
        """Write the batch script, exactly as submitting so many jobs at once would."""
        array = {"map_count": jobs} if jobs > 1 else {}
        self.parameters.update(array)
        text: str = self._make_submission_file_text(self._submitit_command_str, "")
        for key in array:
            del self.parameters[key]
        return text


def make_executor(step: Step, folder: Path, dependency: str | None) -> Executor:
    """Make what submits the jobs of a step, which log to `folder`.

    `dependency` is as sbatch takes it; a job whose dependency cannot come true any more is
    cancelled.
    """
    options = step.options
    other_options: dict[str, str | bool] = {**options.sbatch, "requeue": True}
    if dependency:
        other_options |= {"dependency": dependency, "kill-on-invalid-dep": "yes"}
    if options.mem:
        other_options["mem"] = options.mem
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
        additional_parameters=other_options,
    )
    return executor


def interpreter(options: SlurmOptions, folder: Path) -> str:
    """The shell's words that start Python with blocked signals, in the container if there is one.

    A container of pyxis is no matter of this command: `srun` starts it.
    """
    words = [sys.executable]
    if options.container:
        words = ["python3"]
    if _is_apptainer(options):
        apptainer = ["apptainer", "exec"]
        if options.gpus_per_node:
            apptainer.append("--nv")
        for path in _visible_folders(options, folder):
            apptainer += ["--bind", path]
        apptainer += ["--pwd", str(Path.cwd()), str(options.container)]
        words = [*apptainer, *words]
    return shlex.join([*words, "-m", "bsou_dist.cluster.blocked_signals"])


def _is_apptainer(options: SlurmOptions) -> bool:
    """Whether a job runs in a container of Apptainer; any other is given to pyxis."""
    return options.container is not None and options.container.endswith(".sif")


def _visible_folders(options: SlurmOptions, folder: Path) -> list[str]:
    """Folders that must be in a container at the place where they are outside."""
    folders = (Path.cwd(), folder, *options.bind)
    return list(dict.fromkeys(str(path.absolute()) for path in folders))


def _srun(options: SlurmOptions, folder: Path) -> list[str]:
    """Arguments of srun."""
    arguments = [
        "--kill-on-bad-exit=1",  # a failing task ends the others, which SLURM would let hang
        "--wait=0",  # a task that is done early does not
        f"--cpus-per-task={options.cpus_per_task}",  # from 22.05 on srun has it no more from sbatch
    ]
    if options.container and not _is_apptainer(options):
        mounts = ",".join(f"{path}:{path}" for path in _visible_folders(options, folder))
        arguments += [
            f"--container-image={options.container}",
            f"--container-mounts={mounts}",
            f"--container-workdir={Path.cwd()}",
        ]
    return arguments


def _setup(options: SlurmOptions, folder: Path) -> list[str]:
    """Lines of the script before its tasks.

    The script puts a job that was told to stop back into the queue, unless that was its user's
    `scancel`, and one that has failed if going on promises more than failing again. It does so
    here, and not in a task: once for all tasks, outside any container, and also for a task that
    could not do it. `srun` runs in the background, since a shell acts on signals only between
    commands: at the time limit a script has seconds.
    """
    defaults = {"OMP_NUM_THREADS": str(options.cpus_per_task), **DEFAULT_ENVIRONMENT}
    script = f"""\
of_this_job={shlex.quote(str(folder))}/"$SLURM_JOB_ID"
stopped="$of_this_job"_{STOPPED_MARK}
failures="$of_this_job"_failures
export {PROGRESS_MARK_VARIABLE}="$of_this_job"_progress
rm -f "$stopped" "${PROGRESS_MARK_VARIABLE}"
queued=
requeue() {{
    case $(scontrol -o show job "$SLURM_JOB_ID") in
        *" JobState=RUNNING "* | *" Reason=TimeLimit "*) ;;
        *) return ;; # cancelled
    esac
    if [ "${{SLURM_RESTART_COUNT:-0}}" -ge {options.max_restarts} ]; then
        echo "$1 after {options.max_restarts} restarts: not put into the queue again"
    else
        scontrol requeue "$SLURM_JOB_ID" && queued=yes &&
            echo "$1, and put into the queue again"
    fi
}}
# Over time, and the tasks have not stopped: the run goes on from its last checkpoint.
at_the_limit() {{
    case $(scontrol -o show job "$SLURM_JOB_ID") in
        *" Reason=TimeLimit "*) requeue "told to stop" ;;
    esac
}}
# What failed without a new checkpoint would fail at the same place again, unless its tasks were
# never all started.
after_a_failure() {{
    case $code in
        {_any_of(SRUN_NOT_LAUNCHED)}) what="could not be launched" ;;
        *)
            [ -e "${PROGRESS_MARK_VARIABLE}" ] || return
            what="failed with exit code $code after a new checkpoint"
            ;;
    esac
    echo "$what" >>"$failures"
    if [ "$(wc -l <"$failures")" -gt {options.max_failures} ]; then
        echo "$what, and more than {options.max_failures} times: not put into the queue again"
    else
        requeue "$what"
    fi
}}
trap at_the_limit TERM
trap : USR1 USR2
srun() {{
    command srun "$@" &
    while kill -0 $! 2>/dev/null; do wait $!; done
    wait $!
}}"""
    lines = script.splitlines()
    for name, value in defaults.items():
        if name not in options.env:
            lines.append(f"export {name}=${{{name}:-{value}}}")
    for name, value in options.env.items():
        lines.append(f"export {name}={shlex.quote(value)}")
    return lines


def _teardown() -> list[str]:
    """Lines of the script after its tasks."""
    script = f"""\
code=$?
case $code in {_any_of(SRUN_STOPPED)}) touch "$stopped" ;; esac
if [ -n "$queued" ]; then
    :
elif [ -e "$stopped" ]; then
    code={REQUEUE}
    requeue "told to stop"
else
    case $code in {_any_of((DONE, BAD_INPUT))}) ;; *) after_a_failure ;; esac
fi
rm -f "$stopped" "${PROGRESS_MARK_VARIABLE}"
exit $code"""
    return script.splitlines()


def _any_of(codes: Sequence[int]) -> str:
    """Exit codes as a pattern of the shell's `case`."""
    return " | ".join(str(int(code)) for code in codes)
