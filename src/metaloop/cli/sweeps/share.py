"""A job's share of its machine: its own GPUs, and its part of the cores."""

import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import filelock

from metaloop.folders.sweep_folder import GPUS, SweepFolder

POLL = 0.5  # seconds between two checks for free GPUs


def see_all_gpus(sweep: SweepFolder) -> None:
    """Make all GPUs of the command visible, since a launcher may have hidden them from its jobs.

    In a cluster's job nothing changes: its GPUs belong to it alone.
    """
    if is_allocated() or sweep.leader.host != socket.gethostname():
        return
    if (gpus := sweep.leader.gpus) is None:
        os.environ.pop(GPUS, None)
    else:
        os.environ[GPUS] = gpus


def is_allocated() -> bool:
    """Check whether a cluster has given this job its own devices."""
    return "SLURM_JOB_ID" in os.environ


def visible_gpus(count: int) -> list[str]:
    """Name the GPUs that torch counts here, as CUDA_VISIBLE_DEVICES does, or by number."""
    named = os.environ.get(GPUS)
    return [str(i) for i in range(count)] if named is None else named.split(",")[:count]


@contextmanager
def own_gpus(
    needed: int,
    gpus: Sequence[str],
    is_stopping: Callable[[], bool],
    locks: Path | None = None,
) -> Iterator[list[str]]:
    """Hold some GPUs by a lock each, waiting until enough are free.

    The locks end with this process. Jobs choose one after the other and take all or none, so that
    no two wait for each other.

    Args:
        needed: number of GPUs to hold.
        gpus: names of all GPUs.
        is_stopping: polled while waiting; once it is true, none are held.
        locks: folder of the locks; None for this user's folder on the machine.

    """
    locks = locks or Path(tempfile.gettempdir()) / f"metaloop-gpus-{os.getuid()}"
    with ExitStack() as held:
        names: list[str] = []
        while len(names) < needed and not is_stopping():
            locks.mkdir(parents=True, exist_ok=True)
            with filelock.FileLock(locks / "choosing"):
                names = _take(needed, gpus, locks, held)
            if len(names) < needed:
                time.sleep(POLL)
        yield names


def _take(needed: int, gpus: Sequence[str], locks: Path, held: ExitStack) -> list[str]:
    """Lock the first free GPUs; none if there are too few."""
    with ExitStack() as taken:
        names: list[str] = []
        for name in gpus:
            lock = filelock.FileLock(locks / re.sub(r"\W", "-", name), timeout=0)
            with suppress(filelock.Timeout):  # another job holds it
                taken.enter_context(lock)
                names.append(name)
            if len(names) == needed:
                held.push(taken.pop_all())
                return names
    return []


def threads_of_a_job(launcher: Mapping[str, object], processes: object) -> int | None:
    """Return the cores for each process of a job if jobs run at once; None for torch's default.

    Args:
        launcher: the launcher's config.
        processes: processes of one job, `device.devices`.

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
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _whole(number: object) -> int:
    return int(number) if isinstance(number, int | float) else 1
