"""Start the process that executes a written folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.sweep_folder import GPUS
from metaloop.process.parent_death import stop_with_parent
from metaloop.process.signals import stop_signals
from metaloop.user_text import for_shell, say

if TYPE_CHECKING:
    from metaloop.run.config.build import Pieces
    from metaloop.run.config.settings import Device

POLL = 0.2  # seconds between two checks for a sweep's stop sign
GRACE = 60.0  # seconds for a worker to finish its meta-step and save
# Variables left by a launcher or an earlier Lightning process; ranks get their own.
STALE = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PL_GLOBAL_SEED",
    "PL_SEED_WORKERS",
)


class Work(NamedTuple):
    """A written folder, locked by this process, and the device to execute it on.

    `pieces` are the objects that this process has built from its config.
    """

    folder: RunFolder
    device: "Device"
    pieces: "Pieces | None" = None


def find_own_classes() -> None:
    """Make the working directory importable, as `python -m metaloop.run` does."""
    sys.path.insert(0, str(Path.cwd()))


def be_no_rank() -> None:
    """Remove another process's rank from the environment, which Lightning reads on import."""
    for name in STALE:
        os.environ.pop(name, None)


def execute(work: Work, *, compose_only: bool) -> Work | None:
    """Return the work, which the command does after Hydra; or only print how to do it."""
    if compose_only:
        say(f"Composed {work.folder.path}. To execute it{explain_execution(work)}")
        return None
    work.folder.hold()
    return work


def explain_execution(work: Work) -> str:
    """Tell a user how to execute a folder: here, or on each of its machines."""
    folder, processes, nodes = work.folder, work.device.processes_here(), work.device.nodes
    if nodes == 1:
        return ":\n  " + for_shell("python", *worker_arguments(folder, processes))
    return (
        f" on {nodes} machines, of which FIRST is number 0, enter on each with its number as NODE"
        f" (or use srun):\n  torchrun --nnodes={nodes} --nproc-per-node={processes} "
        f"--master-addr=FIRST --node-rank=NODE -m metaloop.run {for_shell(folder.path)}"
    )


def become_worker(work: Work) -> NoReturn:
    """Turn this process into the worker, with its signals, terminal and exit status.

    This saves the seconds of a second import, and the pieces are built already. A run of several
    processes turns it into torchrun's agent, and each process builds its own pieces. The folder
    stays locked throughout.
    """
    folder, processes = work.folder, work.device.processes_here()
    made = [] if folder.made is None else ["--made", str(folder.made)]
    if processes == 1:
        from metaloop.run.__main__ import main  # here: --help needs no worker

        sys.exit(main([str(folder.path), *made], work.pieces))
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    environment = {**_environment(), **folder.hand_on()}
    os.execve(sys.executable, [*_command(folder, processes), *made], environment)


def run_worker(
    folder: RunFolder,
    processes: int,
    *,
    is_stopping: Callable[[], bool],
    log: Path | None = None,
    gpus: Sequence[str] = (),
) -> None:
    """Run the worker as a child process that dies with this one, as a job of a sweep.

    The child has its own session, so that Ctrl-C in the terminal reaches it once, from here.

    Args:
        folder: the folder to execute.
        processes: number of processes of the run.
        is_stopping: polled; once it is true, the worker saves and ends.
        log: file that the output is appended to; None prints to the terminal.
        gpus: GPUs that the worker may use; empty for all that it finds.

    Raises:
        UserError: if the worker failed or was stopped.

    """
    environment = dict(_environment())
    if gpus:
        environment[GPUS] = ",".join(gpus)
    with ExitStack() as files:
        output = None if log is None else files.enter_context(log.open("ab"))
        child = subprocess.Popen(
            _command(folder, processes),
            env=environment,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=stop_with_parent,
        )
        try:
            status = _wait(child, is_stopping)
        except KeyboardInterrupt:
            child.kill()
            raise
        finally:
            _end(child, signal.SIGTERM)  # a launcher may raise an exception in this process
    if is_stopping() and status != 0:
        raise UserError(f"The sweep was stopped; the run {folder.path} can be continued.")
    if status != 0:
        reason = folder.why_ended() or f"its worker ended with status {status}"
        where = "" if log is None else f"; see {log}"
        raise UserError(f"{reason}{where}")


def _wait(child: subprocess.Popen[bytes], is_stopping: Callable[[], bool]) -> int:
    """Wait for the worker to end, and end it if the sweep is to stop."""
    while not is_stopping():
        try:
            return child.wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            continue
    return _end(child, signal.SIGINT)


def _end(child: subprocess.Popen[bytes], number: int) -> int:
    """Signal the worker to save and end, and kill it if it does not."""
    if child.poll() is None:
        child.send_signal(number)
        try:
            child.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def _command(folder: RunFolder, processes: int) -> list[str]:
    return [sys.executable, *worker_arguments(folder, processes)]


def worker_arguments(folder: RunFolder, processes: int) -> list[str]:
    """Return python's arguments to execute a folder; several processes need torchrun's agent."""
    worker = ["-m", "metaloop.run", str(folder.path)]
    if processes == 1:
        return worker
    agent = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    signals = ",".join(("SIGQUIT", *(number.name for number in stop_signals())))
    return [*agent, f"--signals-to-handle={signals}", *worker]


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in STALE}
