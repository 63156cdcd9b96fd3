"""From a written folder to the process that works in it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from metaloop.errors import UserError
from metaloop.run_folder import RunFolder

# What a launcher or an earlier Lightning process leaves behind; ranks get their own.
STALE = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
)


def become_worker(folder: RunFolder, processes: int) -> None:
    """Replace this process by the worker: signals, terminal and exit status are its own."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(sys.executable, _command(folder, processes), _environment())


def run_worker(folder: RunFolder, processes: int) -> None:
    """Run the worker as a child, passing signals on to it: a job of a sweep.

    Raises:
        UserError: the worker failed; the sweep goes on with its other jobs.

    """
    child = subprocess.Popen(_command(folder, processes), env=_environment())
    before = {
        number: signal.signal(number, lambda received, _: child.send_signal(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        status = child.wait()
    finally:
        child.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
    if status != 0:
        raise UserError(f"The run {folder.path} ended with status {status}; see its status.json.")


def _command(folder: RunFolder, processes: int) -> list[str]:
    worker = ["-m", "metaloop.run", str(folder.path)]
    if processes == 1:
        return [sys.executable, *worker]
    agent = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [sys.executable, *agent, *worker]


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in STALE}
