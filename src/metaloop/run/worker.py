"""The process that executes a run folder.

The commands compose a config, write it into a folder and become this. It starts the same from
a debugger (python -m pdb -m metaloop.run FOLDER), srun or torchrun.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from pytorch_lightning.utilities import rank_zero_only

from metaloop.errors import UserError
from metaloop.interrupted import Interrupted
from metaloop.run.adapt import adapt
from metaloop.run.build import load_config
from metaloop.run.evaluate import evaluate, warn_of_few_episodes
from metaloop.run.train import train
from metaloop.run.write import read_overrides
from metaloop.run_folder import RunFolder


def work() -> int:
    """Execute the folder named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m metaloop.run", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that metaloop-train wrote")
    try:
        folder = RunFolder.open(parser.parse_args().folder)
        # Lightning has read the rank from torchrun's or Slurm's environment
        is_first = vars(rank_zero_only).get("rank", 0) == 0
        with _held(folder) if is_first else _not_held():
            _execute(folder)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Interrupted as stop:
        print(f"\nStopped by {stop}.\n{_how_to_go_on(folder)}", flush=True)
        return 128 + stop.signal_number
    return 0


def _execute(folder: RunFolder) -> None:
    config = load_config(folder)
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
        return f"To go on:\n  metaloop-resume {folder.path}"
    return f"To {command} again:\n  python -m metaloop.run {folder.path}"


@contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """Lock the folder and keep its status true, however the work ends."""
    with folder.lock():
        folder.write_status("running", pid=os.getpid(), host=socket.gethostname())
        try:
            yield
        except Interrupted as stop:
            folder.write_status("interrupted", reason=str(stop))
            raise
        except BaseException as error:
            folder.write_status("failed", error=f"{type(error).__name__}: {error}")
            raise
        folder.write_status("completed")


@contextmanager
def _not_held() -> Iterator[None]:
    yield
