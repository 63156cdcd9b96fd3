"""A Slurm job that puts itself back into the queue. Imports no torch."""

import os
import re
import signal
import subprocess

NO_REQUEUE = "METALOOP_NO_REQUEUE"  # set in the environment, a stopped job stays ended


def requeue_job(signal_number: int) -> None:
    """Have Slurm start this job again, where the signal that stopped its run means that.

    SIGUSR1 does: what `sbatch --signal=USR1@90` has sent before the time is up. SIGTERM comes to
    a preempted job and to a cancelled one, and Slurm knows which this is: one that ends within
    its grace time is not requeued by Slurm itself.

    Call it last, from any rank: Slurm ends what is left of the job.
    """
    job = _own_job()
    is_first = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", 0))) == 0
    if job is None or not is_first or NO_REQUEUE in os.environ:
        return
    if signal_number == signal.SIGUSR1 or (signal_number == signal.SIGTERM and _is_preempted(job)):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm's answer to what follows
        refusal = _scontrol("requeue", job)[1]
        if refusal:
            print(f"Slurm does not start job {job} again: {refusal}", flush=True)
        else:
            print(f"Slurm starts job {job} again.", flush=True)


def _own_job() -> str | None:
    """The job's name; an element of an array is not to be mistaken for the whole of it."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def _is_preempted(job: str) -> bool:
    """Whether the job is within its grace time: running still, and to make room."""
    said = _scontrol("show", "job", job)[0]
    return "JobState=RUNNING" in said and re.search(r"\bPreemptTime=\d", said) is not None


def _scontrol(*arguments: str) -> tuple[str, str]:
    """What scontrol answers, and what it complains about."""
    try:
        done = subprocess.run(
            ["scontrol", *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    failure = done.stderr.strip() or f"scontrol ended with status {done.returncode}"
    return done.stdout, failure if done.returncode else ""
