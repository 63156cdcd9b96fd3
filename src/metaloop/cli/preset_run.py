"""A preset's run: composed, brought to its end in slices, evaluated as its paper did."""

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
from metaloop.cli.mistakes import explain
from metaloop.cli.over_run import made_name
from metaloop.cli.overrides import checked
from metaloop.cli.resume import changed
from metaloop.cli.train import Request, resolve_paths
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows
from metaloop.process.signals import stop_signals
from metaloop.run.config.identity import identity
from metaloop.run.config.misfits import build_and_try
from metaloop.run.config.read import FORMAT, plain
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Device
from metaloop.run.config.write import rewrite_job, write_evaluation
from metaloop.run.evaluation.other_task import fit_to_run
from metaloop.run.evaluation.results import unlike
from metaloop.user_text import say

OURS = ("logger=csv", "callbacks.pictures=null")  # of every run; changes no number
BETWEEN = 30.0  # seconds between two lines of progress
ENDED = ("completed", "diverged")


class Slice:
    """The time that a command may take; a stop signal ends it."""

    def __init__(self, hours: float | None) -> None:
        self._end = math.inf if hours is None else time.monotonic() + 3600 * hours

    def __enter__(self) -> "Slice":
        self._before = {number: signal.signal(number, self._stop) for number in stop_signals()}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_over(self) -> bool:
        """Whether what runs is to save and end."""
        return time.monotonic() >= self._end

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._end = 0.0


class PresetRun(NamedTuple):
    """A preset with a seed: its config, what was given for it, its run folder."""

    preset: str
    seed: int
    config: RunConfig
    overrides: Sequence[str]
    folder: RunFolder

    def evaluations(self) -> dict[str, list[str]]:
        """What its published values change of the run's config, by the evaluation's name."""
        found = {}
        for value in self.config.published:
            unlikes = unlike(value, self.config.content)
            changes = [f"{k}={_text(v)}" for k, v in unlikes.items()]
            found[made_name([self.config.evaluation.split, *changes])] = changes
        return found


def compose_preset(preset: str, seed: int, changes: Sequence[str], home: Path) -> PresetRun:
    """Compose a preset as metaloop-train would; its run folder is named by all that matters.

    Raises:
        UserError: it does not compose.

    """
    overrides = [f"experiment={preset}", f"seed={seed}", *OURS, *changes]
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            values = plain(hydra.compose("train", checked(overrides)))
    except Exception as error:
        said = explain(error, config_name="train", arguments=overrides)
        raise UserError(said) from error
    for field in fields(Request):
        del values[field.name]
    run_id = secrets.token_hex(4)
    content = {"format": FORMAT, "command": "train", "run_id": run_id, **resolve_paths(values)}
    folder = RunFolder(home / preset / f"{seed}_{identity(content)}")
    return PresetRun(preset, seed, RunConfig.of(content), overrides, folder)


def bring_about(run: PresetRun, time_slice: Slice) -> bool:
    """Train what is left to train, and evaluate as the published values were; whether all is done.

    Raises:
        UserError: the run cannot start, or failed.

    """
    build_and_try(run.config)
    device = run.config.device
    device.require()
    if _state(run.folder) not in ENDED:
        if time_slice.is_over():
            return False
        rewrite_job(run.folder, run.config.content, run.overrides)
        if not _work(run, run.folder, device, time_slice):
            return False
    if run.folder.state() == "diverged":
        raise UserError(run.folder.why_ended())
    for name, changes in run.evaluations().items():
        judged = RunFolder(run.folder.evaluations / name)
        if _state(judged) == "completed":
            continue
        trained = RunConfig.read(run.folder)
        config = RunConfig.of(changed(trained.content, changes))
        content = fit_to_run(config, trained, run.folder).content
        judged = write_evaluation(run.folder, name, content, changes)
        judged.let_go()  # the worker, another process, takes it
        if not _work(run, judged, device, time_slice):
            return False
    return True


def _work(run: PresetRun, folder: RunFolder, device: Device, time_slice: Slice) -> bool:
    """Execute a folder; whether it came to its end before the time was over."""
    is_stopping = _telling(run, time_slice.is_over)
    try:
        run_worker(folder, device.processes_here(), is_stopping=is_stopping, log=folder.log)
    except UserError:
        if time_slice.is_over() and folder.state() == "interrupted":
            return False
        raise
    return True


def _telling(run: PresetRun, is_over: Callable[[], bool]) -> Callable[[], bool]:
    """Say now and then, while somebody asks whether to stop, how far a run is."""
    asked = run.config.training.max_steps
    said = time.monotonic()

    def ask() -> bool:
        nonlocal said
        if time.monotonic() - said >= BETWEEN:
            said = time.monotonic()
            rows = read_rows(run.folder.metrics)
            done = int(rows[-1]["step"]) if rows else 0
            say(f"{run.preset}, seed {run.seed}: meta-step {done:,} of {asked:,}")
        return is_over()

    return ask


def _state(folder: RunFolder) -> str:
    return folder.state() if folder.config.is_file() else "new"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
