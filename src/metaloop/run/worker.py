"""The worker: the process that executes a run folder.

A command writes the config into a folder and turns into the worker. A debugger (python -m pdb -m
metaloop.run FOLDER), srun and torchrun start it too.
"""

import argparse
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_only

from metaloop.errors import Diverged, UserError
from metaloop.folders.run_folder import RunFolder, State
from metaloop.process.machine_error import MachineError, machine_error, refusal
from metaloop.process.malloc import keep_freed_memory
from metaloop.process.signals import Interrupted, leave_signals_to_parent
from metaloop.run.adaptation.adapt import adapt
from metaloop.run.config.build import Pieces, build
from metaloop.run.config.read import load_config, read_overrides
from metaloop.run.config.run_config import RunConfig
from metaloop.run.evaluation.evaluate import evaluate, warn_of_few_episodes
from metaloop.run.train import train
from metaloop.user_text import for_shell, say

DIVERGED = 3  # exit status of a run that diverged; torchrun turns it into 1


def work(arguments: Sequence[str] | None = None, pieces: Pieces | None = None) -> int:
    """Execute the folder named by the arguments, or by the command line; return the exit status.

    `pieces` are built from the folder's config, if this process has done so to check it.
    """
    parser = argparse.ArgumentParser(prog="python -m metaloop.run", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that metaloop-train wrote")
    parser.add_argument(
        "--made",
        type=Path,
        help="folder created for this run: removed if the run fails with nothing to keep",
    )
    given = parser.parse_args(arguments)
    folder = RunFolder(given.folder)
    # read by Lightning from torchrun's or Slurm's environment
    is_first = vars(rank_zero_only).get("rank", 0) == 0
    try:
        folder.require()
        with _locked(folder) if is_first else nullcontext():
            _execute(folder, pieces)
    except Diverged as error:
        if not is_first:
            return 0  # for the same reason as below
        say(f"Error: {error} {_describe_kept(folder)}\n{_explain_change(folder)}", is_error=True)
        return DIVERGED
    except Interrupted as stop:
        if stop.is_agreed and not is_first:
            return (
                0  # after a failure srun or torchrun would end the first process before it is done
            )
        say(f"\nStopped by {stop}.\n{_explain_continuation(folder)}")
        return 128 + stop.signal_number
    except Exception as error:
        refused = refusal(error, folder.path)
        if refused is None and not isinstance(error, UserError):
            raise
        if given.made is not None and not _has_begun(folder):
            leave_signals_to_parent()  # another process may have ended the run already
            folder.remove(given.made)
            say(f"Error: {refused or error}", is_error=True)
        else:
            what = error if refused is None else _explain(refused, folder)
            say(f"Error: {what}", is_error=True)
        return 1
    return 0


def _execute(folder: RunFolder, pieces: Pieces | None) -> None:
    keep_freed_memory()
    config = RunConfig.read(folder)
    config.device.use_threads()
    if config.command != "adapt":
        warn_of_few_episodes(config.evaluation)
    pieces = build(config) if pieces is None else pieces._replace(config=config)
    if config.run is None:
        train(folder, pieces)
        return
    run = RunFolder.open(os.path.normpath(folder.path / config.run))
    work_on = adapt if config.command == "adapt" else evaluate
    work_on(pieces, run, folder.path, read_overrides(folder))


def _has_begun(folder: RunFolder) -> bool:
    """Check whether the folder has anything worth keeping."""
    results = folder.path / "results.json"
    return any(p.exists() for p in (folder.last_checkpoint, folder.metrics, results))


def _explain_continuation(folder: RunFolder) -> str:
    """Return the command to continue; empty if the folder is gone."""
    try:
        command = load_config(folder)["command"]
    except UserError:
        return ""
    if command == "train":
        return f"To continue:\n  {for_shell('metaloop-resume', folder.path)}"
    return f"To {command} again:\n  {for_shell('python', '-m', 'metaloop.run', folder.path)}"


def _explain_change(folder: RunFolder) -> str:
    command = for_shell("metaloop-resume", folder.path)
    return (
        f"To continue with other values, such as:\n  {command} optimizer.lr=LOWER --accept-changes"
    )


def _describe_kept(folder: RunFolder) -> str:
    kept = [p for p in (folder.last_checkpoint, folder.previous_checkpoint) if p.exists()]
    return f"The checkpoint {kept[0]} is kept." if kept else "No checkpoint had been saved."


def _explain(refused: MachineError, folder: RunFolder) -> str:
    """Explain what the machine refused, what the run has kept, and how to continue."""
    how = _explain_continuation(folder)
    is_kept = f" {_describe_kept(folder)}" if "metaloop-resume" in how else ""
    return f"{refused.what}, and the run has ended.{is_kept} {refused.remedy} {how}".rstrip()


@contextmanager
def _locked(folder: RunFolder) -> Iterator[None]:
    """Lock the folder and keep its status correct, however the work ends."""
    with folder.lock():
        folder.settle()
        folder.write_status("running", pid=os.getpid(), host=socket.gethostname())
        try:
            yield
        except Interrupted as stop:
            _write_last_status(folder, "interrupted", reason=str(stop))
            raise
        except Diverged as error:
            _write_last_status(folder, "diverged", reason=str(error))
            raise
        except BaseException as error:
            refused = refusal(error, folder.path)
            reason = f"{type(error).__name__}: {error}" if refused is None else refused.what
            _write_last_status(folder, "failed", error=reason)
            raise
        folder.write_status("completed")


def _write_last_status(folder: RunFolder, state: State, **details: str) -> None:
    """Write how the work ended; a failure to write must not hide the reason."""
    try:
        folder.write_status(state, **details)
    except OSError as error:
        if machine_error(error, folder.path) is None:
            raise
