"""From a written folder to the process that works in it."""

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

POLL = 0.2  # seconds between two looks whether a sweep is to stop
GRACE = 60.0  # seconds for a worker to finish its meta-step and save
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


class Work(NamedTuple):
    """A written folder, held by this process, and where it is to be executed.

    `pieces` are those that this process has built of its config.
    """

    folder: RunFolder
    device: "Device"
    pieces: "Pieces | None" = None


def find_own_classes() -> None:
    """Import from the working directory, as `python -m metaloop.run` does."""
    sys.path.insert(0, str(Path.cwd()))


def be_no_rank() -> None:
    """Forget whose rank this process was: Lightning reads it as soon as it is imported."""
    for name in STALE:
        os.environ.pop(name, None)


def execute(work: Work, *, compose_only: bool) -> Work | None:
    """Say how to execute a folder, or return it: what the command does when Hydra is done."""
    if compose_only:
        say(f"Composed {work.folder.path}. To execute it{by_hand(work)}")
        return None
    work.folder.hold()
    return work


def by_hand(work: Work) -> str:
    """How a user executes a folder: here, or on each of its machines."""
    folder, processes, nodes = work.folder, work.device.processes_here(), work.device.nodes
    if nodes == 1:
        return ":\n  " + for_shell("python", *worker_arguments(folder, processes))
    return (
        f" on {nodes} machines, of which FIRST is number 0, enter on each with its number as NODE"
        f" (or use srun):\n  torchrun --nnodes={nodes} --nproc-per-node={processes} "
        f"--master-addr=FIRST --node-rank=NODE -m metaloop.run {for_shell(folder.path)}"
    )


def become_worker(work: Work) -> NoReturn:
    """Let this process be the worker: signals, terminal and exit status are its own.

    It has imported what a worker imports, seconds of it, so it goes on as one, with what it has
    built. Of several processes it becomes torchrun's agent, and each of them builds its own. Nobody
    else gets hold of the folder in between.
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
    """Run the worker as a child that dies with this process: a job of a sweep.

    The child has a session of its own: the terminal's Ctrl-C reaches it once, from here.

    Args:
        folder: what it executes.
        processes: how many it starts.
        is_stopping: asked again and again; then the worker saves and ends.
        log: the file that its output is added to; None leaves it the terminal.
        gpus: those that it may use; none: what it finds.

    Raises:
        UserError: the worker failed, or was stopped.

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
            _end(child, signal.SIGTERM)  # a launcher may end this process by an exception
    if is_stopping() and status != 0:
        raise UserError(f"The sweep was stopped; the run {folder.path} can go on.")
    if status != 0:
        reason = folder.why_ended() or f"its worker ended with status {status}"
        where = "" if log is None else f"; see {log}"
        raise UserError(f"{reason}{where}")


def _wait(child: subprocess.Popen[bytes], is_stopping: Callable[[], bool]) -> int:
    """Wait for the worker's end, and bring it about where the sweep is to stop."""
    while not is_stopping():
        try:
            return child.wait(timeout=POLL)
        except subprocess.TimeoutExpired:
            continue
    return _end(child, signal.SIGINT)


def _end(child: subprocess.Popen[bytes], number: int) -> int:
    """Let the worker save and end, or kill it where it does not."""
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
    """What python is given to execute a folder: under torchrun's agent for several processes."""
    worker = ["-m", "metaloop.run", str(folder.path)]
    if processes == 1:
        return worker
    agent = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    signals = ",".join(("SIGQUIT", *(number.name for number in stop_signals())))
    return [*agent, f"--signals-to-handle={signals}", *worker]


def _environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if name not in STALE}
