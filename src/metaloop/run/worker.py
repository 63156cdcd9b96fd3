"""The process that executes a run folder.

The commands compose a config, write it into a folder and go on as this. It starts the same from
a debugger (python -m pdb -m metaloop.run FOLDER), srun or torchrun.
"""

import argparse
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

DIVERGED = 3  # the exit status of a run that diverged; of several processes torchrun makes it 1


def work(arguments: Sequence[str] | None = None, pieces: Pieces | None = None) -> int:
    """Execute the folder that the arguments name, else the command line; return the exit status.

    `pieces` are those of the folder's config, where this process has built them to check it.
    """
    parser = argparse.ArgumentParser(prog="python -m metaloop.run", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that metaloop-train wrote")
    parser.add_argument(
        "--made",
        type=Path,
        help="made for this run: removed if the run fails before it has anything to keep",
    )
    given = parser.parse_args(arguments)
    folder = RunFolder(given.folder)
    # Lightning has read the rank from torchrun's or Slurm's environment
    is_first = vars(rank_zero_only).get("rank", 0) == 0
    try:
        folder.require()
        with _held(folder) if is_first else _not_held():
            _execute(folder, pieces)
    except Diverged as error:
        if not is_first:
            return 0  # as below
        say(f"Error: {error} {_what_is_kept(folder)}\n{_how_to_change(folder)}", is_error=True)
        return DIVERGED
    except Interrupted as stop:
        if stop.is_agreed and not is_first:
            return 0  # a failure would have srun or torchrun end the first one while it finishes
        say(f"\nStopped by {stop}.\n{_how_to_go_on(folder)}")
        return 128 + stop.signal_number
    except Exception as error:
        refused = refusal(error, folder.path)
        if refused is None and not isinstance(error, UserError):
            raise
        if given.made is not None and not _has_begun(folder):
            leave_signals_to_parent()  # another process of the run may have ended it already
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
    """Whether there is anything in the folder that somebody might want."""
    results = folder.path / "results.json"
    return any(p.exists() for p in (folder.last_checkpoint, folder.metrics, results))


def _how_to_go_on(folder: RunFolder) -> str:
    """Say by what command; nothing of a folder that is gone."""
    try:
        command = load_config(folder)["command"]
    except UserError:
        return ""
    if command == "train":
        return f"To go on:\n  {for_shell('metaloop-resume', folder.path)}"
    return f"To {command} again:\n  {for_shell('python', '-m', 'metaloop.run', folder.path)}"


def _how_to_change(folder: RunFolder) -> str:
    command = for_shell("metaloop-resume", folder.path)
    return f"To go on with other values, for one:\n  {command} optimizer.lr=LOWER --accept-changes"


def _what_is_kept(folder: RunFolder) -> str:
    kept = [p for p in (folder.last_checkpoint, folder.previous_checkpoint) if p.exists()]
    what = f"the checkpoint {kept[0]}" if kept else "no checkpoint, none had been saved"
    return f"Kept is {what}."


def _explain(refused: MachineError, folder: RunFolder) -> str:
    """What the machine refused, what the run has kept, and how to go on."""
    how = _how_to_go_on(folder)
    is_kept = f" {_what_is_kept(folder)}" if "metaloop-resume" in how else ""
    return f"{refused.what}, and the run has ended.{is_kept} {refused.remedy} {how}".rstrip()


@contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """Lock the folder and keep its status true, however the work ends."""
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
    """Say how the work ended, unless nothing can be written: that is not to hide why it ended."""
    try:
        folder.write_status(state, **details)
    except OSError as error:
        if machine_error(error, folder.path) is None:
            raise


@contextmanager
def _not_held() -> Iterator[None]:
    yield
