"""Compose a preset's run, train it within a time limit, and evaluate it as its paper did."""

import json
import math
import secrets
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import NamedTuple

import hydra

from metaloop.cli.configs import CONF
from metaloop.cli.execute import run_worker
from metaloop.cli.folder_names import make_name
from metaloop.cli.mistakes import explain
from metaloop.cli.overrides import check_overrides
from metaloop.cli.resume import change_keys
from metaloop.cli.train import Request, resolve_paths
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.process.signals import stop_signals
from metaloop.run.config.identity import identity
from metaloop.run.config.misfits import build_and_try
from metaloop.run.config.published import unmet_conditions
from metaloop.run.config.read import FORMAT, plain
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Device
from metaloop.run.config.write import rewrite_job, write_evaluation
from metaloop.run.evaluation.other_task import fit_to_run
from metaloop.user_text import say

OURS = ("logger=csv", "callbacks.pictures=null")  # overrides of every run; change no number
PROGRESS = 30.0  # seconds between two lines of progress
ENDED = ("completed", "diverged")


class TimeLimit:
    """A command's time limit, which a stop signal ends at once."""

    def __init__(self, hours: float | None) -> None:
        self._end = math.inf if hours is None else time.monotonic() + 3600 * hours

    def __enter__(self) -> "TimeLimit":
        self._before = {number: signal.signal(number, self._stop) for number in stop_signals()}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_over(self) -> bool:
        """Check whether the current run is to save and end."""
        return time.monotonic() >= self._end

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._end = 0.0


class PresetRun(NamedTuple):
    """A preset with a seed: its config, overrides and run folder."""

    preset: str
    seed: int
    config: RunConfig
    overrides: Sequence[str]
    folder: RunFolder

    def evaluations(self) -> dict[str, list[str]]:
        """Return the changes to the run's config for its published values, by evaluation."""
        found = {}
        for value in self.config.published:
            unmet = unmet_conditions(value, self.config.content)
            changes = [f"{k}={_text(v)}" for k, v in unmet.items()]
            found[make_name([self.config.evaluation.split, *changes])] = changes
        return found


def compose_preset(preset: str, seed: int, changes: Sequence[str], home: Path) -> PresetRun:
    """Compose a preset as metaloop-train would; the run folder is named by seed and identity.

    Raises:
        UserError: if it does not compose.

    """
    overrides = [f"experiment={preset}", f"seed={seed}", *OURS, *changes]
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            values = plain(hydra.compose("train", check_overrides(overrides)))
    except Exception as error:
        said = explain(error, config_name="train", arguments=overrides)
        raise UserError(said) from error
    for field in fields(Request):
        del values[field.name]
    run_id = secrets.token_hex(4)
    content = {"format": FORMAT, "command": "train", "run_id": run_id, **resolve_paths(values)}
    folder = RunFolder(home / preset / f"{seed}_{identity(content)}")
    return PresetRun(preset, seed, RunConfig.of(content), overrides, folder)


def advance(run: PresetRun, limit: TimeLimit) -> bool:
    """Continue the training and the evaluations for published values; return whether all is done.

    Raises:
        UserError: if the run cannot start, or failed.

    """
    build_and_try(run.config)
    device = run.config.device
    device.require()
    if _state(run.folder) not in ENDED:
        if limit.is_over():
            return False
        rewrite_job(run.folder, run.config.content, run.overrides)
        if not _execute(run, run.folder, device, limit):
            return False
    if run.folder.state() == "diverged":
        raise UserError(run.folder.why_ended())
    for name, changes in run.evaluations().items():
        judged = RunFolder(run.folder.evaluations / name)
        if _state(judged) == "completed":
            continue
        trained = RunConfig.read(run.folder)
        config = RunConfig.of(change_keys(trained.content, changes))
        content = fit_to_run(config, trained, run.folder).content
        judged = write_evaluation(run.folder, name, content, changes)
        judged.let_go()  # the worker is another process
        if not _execute(run, judged, device, limit):
            return False
    return True


def _execute(run: PresetRun, folder: RunFolder, device: Device, limit: TimeLimit) -> bool:
    """Execute a folder; return whether it completed within the limit."""
    is_stopping = _with_progress(run, limit.is_over)
    try:
        run_worker(folder, device.processes_here(), is_stopping=is_stopping, log=folder.log)
    except UserError:
        if limit.is_over() and folder.state() == "interrupted":
            return False
        raise
    return True


def _with_progress(run: PresetRun, is_over: Callable[[], bool]) -> Callable[[], bool]:
    """Wrap a polled function so that it also prints the run's progress from time to time."""
    max_steps = run.config.training.max_steps
    printed = time.monotonic()

    def poll() -> bool:
        nonlocal printed
        if time.monotonic() - printed >= PROGRESS:
            printed = time.monotonic()
            rows = read_rows(run.folder.metrics)
            done = int(rows[-1]["step"]) if rows else 0
            say(f"{run.preset}, seed {run.seed}: meta-step {done:,} of {max_steps:,}")
        return is_over()

    return poll


def _state(folder: RunFolder) -> str:
    return folder.state() if folder.config.is_file() else "new"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
