"""Put a Slurm job back into the queue. Imports no torch."""

import os
import re
import signal
import subprocess

NO_REQUEUE = "METALOOP_NO_REQUEUE"  # if set in the environment, a stopped job is not requeued


def requeue_job(signal_number: int) -> None:
    """Ask Slurm to start this job again, if the signal that stopped its run means that.

    SIGUSR1 does: `sbatch --signal=USR1@90` sends it before the time limit. SIGTERM is sent to
    preempted and to cancelled jobs; Slurm knows which one this is, but does not itself requeue a
    job that ends within its grace time.

    Call this last, from any rank: Slurm then ends the rest of the job.
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
    """Return the job's id; for an element of a job array, the element's."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


def _is_preempted(job: str) -> bool:
    """Check whether the job is running within its grace time before preemption."""
    said = _scontrol("show", "job", job)[0]
    return "JobState=RUNNING" in said and re.search(r"\bPreemptTime=\d", said) is not None


def _scontrol(*arguments: str) -> tuple[str, str]:
    """Run scontrol; return its output and its error."""
    try:
        done = subprocess.run(
            ["scontrol", *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    failure = done.stderr.strip() or f"scontrol ended with status {done.returncode}"
    return done.stdout, failure if done.returncode else ""
