"""A job's share of its machine: GPUs of its own, and its part of the cores."""

import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock

from metaloop.folders.sweep_folder import GPUS, SweepFolder

POLL = 0.5  # seconds between two looks for free GPUs


def see_all_gpus(sweep: SweepFolder) -> None:
    """See the GPUs that the command sees: a launcher may have hidden them from its jobs.

    A cluster's allocation stays as it is: its GPUs are the job's alone.
    """
    if is_allocated() or sweep.leader.host != socket.gethostname():
        return
    if (gpus := sweep.leader.gpus) is None:
        os.environ.pop(GPUS, None)
    else:
        os.environ[GPUS] = gpus


def is_allocated() -> bool:
    """Whether a cluster has given this job devices of its own."""
    return "SLURM_JOB_ID" in os.environ


def visible_gpus(count: int) -> list[str]:
    """Name the GPUs that torch counts here: as CUDA_VISIBLE_DEVICES does, or by number."""
    named = os.environ.get(GPUS)
    return [str(i) for i in range(count)] if named is None else named.split(",")[:count]


@contextmanager
def own_gpus(
    needed: int,
    gpus: Sequence[str],
    is_stopping: Callable[[], bool],
    locks: Path | None = None,
) -> Iterator[list[str]]:
    """Hold as many GPUs as are needed, waiting while other jobs have them.

    A lock a GPU, held by this process and gone with it. All are taken or none, one job after the
    other, so that no two jobs wait for each other.

    Args:
        needed: how many.
        gpus: the names of those there are.
        is_stopping: asked while waiting; then none are held.
        locks: where the locks lie; None takes this user's folder for the machine.

    """
    locks = locks or Path(tempfile.gettempdir()) / f"metaloop-gpus-{os.getuid()}"
    locks.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        names: list[str] = []
        while len(names) < needed and not is_stopping():
            with filelock.FileLock(locks / "choosing"):
                names = _take(needed, gpus, locks, held)
            if len(names) < needed:
                time.sleep(POLL)
        yield names


def _take(needed: int, gpus: Sequence[str], locks: Path, held: ExitStack) -> list[str]:
    with ExitStack() as taken:
        names: list[str] = []
        for name in gpus:
            lock = filelock.FileLock(locks / re.sub(r"\W", "-", name), timeout=0)
            try:
                taken.enter_context(lock)
            except filelock.Timeout:
                continue
            names.append(name)
            if len(names) == needed:
                held.push(taken.pop_all())
                return names
    return []


def threads_of_a_job(launcher: Mapping[str, object], processes: object) -> int | None:
    """How many cores each process of a job takes where jobs run at once; None: as torch decides.

    Args:
        launcher: the launcher's config.
        processes: of one job, `device.devices`.

    """
    ray = launcher.get("ray")
    if isinstance(at_once := launcher.get("n_jobs"), int):  # joblib; -1: as many as cores
        share = _cores() // at_once if at_once > 0 else 1
    elif "cpus_per_task" in launcher:  # submitit starts all jobs, each with these
        share = _whole(launcher["cpus_per_task"])
    elif isinstance(ray, Mapping):
        share = _whole(ray["remote"].get("num_cpus"))
    else:
        return None
    return max(1, share // _whole(processes))


def _cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _whole(number: object) -> int:
    return int(number) if isinstance(number, int | float) else 1
