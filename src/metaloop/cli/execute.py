"""From a written folder to the process that works in it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from omegaconf import OmegaConf

from metaloop.errors import UserError
from metaloop.parent_process import stop_with_parent
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


def find_own_classes() -> None:
    """Import from the working directory, as `python -m metaloop.run` does."""
    sys.path.insert(0, str(Path.cwd()))


def execute(folder: RunFolder, processes: int, *, compose_only: bool, is_job: bool) -> None:
    """Say how to execute a folder, run it as a job of a sweep, or become its worker."""
    if compose_only:
        print(f"Composed {folder.path}. To execute it{by_hand(folder, processes)}")
    elif is_job:
        run_worker(folder, processes)
    else:
        become_worker(folder, processes)


def by_hand(folder: RunFolder, processes: int) -> str:
    """How a user executes a folder: here, or on each of its machines."""
    nodes = OmegaConf.load(folder.config).device.nodes
    if nodes == 1:
        return ":\n  " + " ".join(["python", *worker_arguments(folder, processes)])
    return (
        f" on {nodes} machines, of which FIRST is number 0, enter on each with its number as NODE"
        f" (or use srun):\n  torchrun --nnodes={nodes} --nproc-per-node={processes} "
        f"--master-addr=FIRST --node-rank=NODE -m metaloop.run {folder.path}"
    )


def become_worker(folder: RunFolder, processes: int) -> None:
    """Replace this process by the worker: signals, terminal and exit status are its own."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execve(sys.executable, _command(folder, processes), _environment())


def run_worker(folder: RunFolder, processes: int) -> None:
    """Run the worker as a child that dies with this process: a job of a sweep.

    The child has a session of its own, so that the terminal's Ctrl-C reaches it once, passed on
    from here; it saves, and the sweep ends with it.

    Raises:
        UserError: the worker failed; the sweep goes on with its other jobs.
        KeyboardInterrupt: it was stopped.

    """
    child = subprocess.Popen(
        _command(folder, processes),
        env=_environment(),
        start_new_session=True,
        preexec_fn=stop_with_parent,
    )
    received = []

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
        received.append(number)
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        status = child.wait()
    finally:
        child.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
    if received:
        raise KeyboardInterrupt
    if status != 0:
        raise UserError(f"The run {folder.path} ended with status {status}; see its status.json.")


def _command(folder: RunFolder, processes: int) -> list[str]:
    return [sys.executable, *worker_arguments(folder, processes)]


def worker_arguments(folder: RunFolder, processes: int) -> list[str]:
    """What python is given to execute a folder: under torchrun's agent for several processes."""
    worker = ["-m", "metaloop.run", str(folder.path)]
    if processes == 1:
        return worker
    agent = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*agent, *worker]


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in STALE}
