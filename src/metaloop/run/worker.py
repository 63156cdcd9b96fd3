"""The process that executes a run folder.

The commands compose a config, write it into a folder and go on as this. It starts the same from
a debugger (python -m pdb -m metaloop.run FOLDER), srun or torchrun.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from pytorch_lightning.utilities import rank_zero_only

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder, State
from metaloop.process.full_disk import full_disk
from metaloop.process.malloc import keep_freed_memory
from metaloop.process.signals import Interrupted
from metaloop.run.adaptation.adapt import adapt
from metaloop.run.config.read import load_config
from metaloop.run.config.write import read_overrides
from metaloop.run.evaluation.evaluate import evaluate, warn_of_few_episodes
from metaloop.run.train import train
from metaloop.user_text import for_shell


def work(arguments: Sequence[str] | None = None) -> int:
    """Execute the folder that the arguments name, else the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m metaloop.run", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that metaloop-train wrote")
    # Lightning has read the rank from torchrun's or Slurm's environment
    is_first = vars(rank_zero_only).get("rank", 0) == 0
    try:
        folder = RunFolder.open(parser.parse_args(arguments).folder)
        with _held(folder) if is_first else _not_held():
            _execute(folder)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        if stop.is_agreed and not is_first:
            return 0  # a failure would have srun or torchrun end the first one while it finishes
        print(f"\nStopped by {stop}.\n{_how_to_go_on(folder)}", flush=True)
        return 128 + stop.signal_number
    except Exception as error:
        if (what := full_disk(error)) is None:
            raise
        print(f"Error: {what}: {_explain_full(folder)}", file=sys.stderr)
        return 1
    return 0


def _execute(folder: RunFolder) -> None:
    keep_freed_memory()
    config = load_config(folder)
    if threads := cast(dict[str, dict[str, int | None]], config)["device"].get("threads"):
        torch.set_num_threads(threads)
    if config["command"] != "adapt":
        warn_of_few_episodes(cast(dict[str, dict[str, int]], config)["evaluation"]["episodes"])
    if config["command"] == "train":
        train(folder)
        return
    run = RunFolder.open(os.path.normpath(folder.path / cast(str, config.pop("run"))))
    work_on = adapt if config["command"] == "adapt" else evaluate
    work_on(config, run, folder.path, read_overrides(folder))


def _how_to_go_on(folder: RunFolder) -> str:
    command = load_config(folder)["command"]
    if command == "train":
        return f"To go on:\n  {for_shell('metaloop-resume', folder.path)}"
    return f"To {command} again:\n  {for_shell('python', '-m', 'metaloop.run', folder.path)}"


def _explain_full(folder: RunFolder) -> str:
    """What a full disk leaves, and how to go on."""
    kept = [p for p in (folder.last_checkpoint, folder.previous_checkpoint) if p.exists()]
    what = f"the checkpoint {kept[0]}" if kept else "no checkpoint, none had been saved"
    is_kept = f" Kept is {what}." if load_config(folder)["command"] == "train" else ""
    return (
        f"nothing more can be written, and the run has ended.{is_kept} Make room. "
        f"{_how_to_go_on(folder)}"
    )


@contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """Lock the folder and keep its status true, however the work ends."""
    with folder.lock():
        folder.write_status("running", pid=os.getpid(), host=socket.gethostname())
        try:
            yield
        except Interrupted as stop:
            _write_last_status(folder, "interrupted", reason=str(stop))
            raise
        except BaseException as error:
            reason = full_disk(error) or f"{type(error).__name__}: {error}"
            _write_last_status(folder, "failed", error=reason)
            raise
        folder.write_status("completed")


def _write_last_status(folder: RunFolder, state: State, **details: str) -> None:
    """Say how the work ended, unless the disk is full: that is not to hide why it ended."""
    try:
        folder.write_status(state, **details)
    except OSError as error:
        if full_disk(error) is None:
            raise


@contextmanager
def _not_held() -> Iterator[None]:
    yield
