"""One job of a sweep: start its run, continue it, or keep it if it is done."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser

from metaloop.cli.execute import Work, execute, run_worker
from metaloop.cli.sweeps.direction import direction_of, require_direction
from metaloop.cli.sweeps.labels import label_job
from metaloop.cli.sweeps.share import (
    is_allocated,
    own_gpus,
    see_all_gpus,
    threads_of_a_job,
    visible_gpus,
)
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.folders.sweep_folder import JobRecord, SweepFolder
from metaloop.process.parent_death import stop_with_parent
from metaloop.run.config.build import Pieces, build, build_task
from metaloop.run.config.identity import identity, is_elsewhere
from metaloop.run.config.keys import key_of
from metaloop.run.config.misfits import build_and_try
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Device
from metaloop.run.config.write import rewrite_job
from metaloop.run.sweeps.target_metric import choose_target_metric, read_target_metric
from metaloop.tasks import Task
from metaloop.user_text import say

BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
# how a job treats its run, by the run's state
BEGINS = {
    "completed": "was completed before",
    "diverged": "diverged before and would again",
    "interrupted": "continues",
    "killed": "continues",
    "failed": "is tried again",
}


class Composed(NamedTuple):
    """A run as the command composes it: its config, name, overrides and target metric."""

    content: dict[str, object]
    name: str
    overrides: list[str]
    objective: str | None


class Job(NamedTuple):
    """A composed run as a job, with what varies, its identity and its folder."""

    composed: Composed
    varied: list[str]
    identity: str
    folder: RunFolder


def train_job(sweep: SweepFolder, composed: Composed) -> float | None:
    """Complete a job's run; return the value that the sweep compares.

    A run that has completed or diverged stays as it is, an interrupted or killed one continues, and
    a failed one is tried again. If two jobs have the same identity, the second waits and finds the
    completed run.

    Raises:
        UserError: if it failed, diverged or was stopped; the sweep continues with its other jobs.

    """
    job = _make_job(sweep, composed)

    def work() -> float | None:
        with sweep.claim(job.identity):
            state = job.folder.state() if job.folder.config.is_file() else "new"
            _say(f"{' '.join(job.varied)}: {BEGINS.get(state, 'begins')}, {job.folder.path}")
            if state == "completed":
                config = RunConfig.of(composed.content)
                return _value(composed, config, build_task(config), job.folder)
            if state == "diverged":
                raise UserError(job.folder.why_ended())
            rewrite_job(job.folder, composed.content, composed.overrides)
            pieces = _build_pieces(composed, job.folder)
            run_in_sweep(sweep, job.folder, pieces.config.device)
            return _value(composed, pieces.config, pieces.task, job.folder)

    return record_job(sweep, job.folder, job.varied, work)


def compose_job(sweep: SweepFolder, composed: Composed) -> None:
    """Write a job's run folder and print how to execute it."""
    job = _make_job(sweep, composed)

    def work() -> None:
        device = build(RunConfig.of(composed.content)).config.device
        rewrite_job(job.folder, composed.content, composed.overrides)
        execute(Work(job.folder, device), compose_only=True)

    record_job(sweep, job.folder, job.varied, work, ends="composed")


def check_job(sweep: SweepFolder, composed: Composed) -> None:
    """Check a job's config, and write nothing."""
    from metaloop.run.check import check_run  # not at the top: other jobs need no tables

    job = _make_job(sweep, composed)

    def work() -> None:
        check_run(RunConfig.of(composed.content))

    record_job(sweep, job.folder, job.varied, work, ends="checked")


def _make_job(sweep: SweepFolder, composed: Composed) -> Job:
    """Name a job, and put its share of the cores and its labels at W&B into its config."""
    varied = varied_overrides(sweep.leader.arguments, composed.overrides)
    # keys outside of the identity, such as device, also make another job if they vary
    key = identity(composed.content, *(o for o in varied if is_elsewhere(key_of(o))))
    label_job(composed.content, sweep.path.name, varied)
    device = composed.content["device"]
    if isinstance(device, dict) and device.get("threads") is None:
        device["threads"] = threads_of_a_job(HydraConfig.get().launcher, device.get("devices"))
    return Job(composed, varied, key, sweep.run_folder(composed.name, key))


def folder_job(work: Work, overrides: Sequence[str], *, compose_only: bool) -> None:
    """Execute an evaluation's or adaptation's folder as a job, or only print how to."""
    folder = work.folder
    folder.let_go()  # the worker is another process
    sweep = SweepFolder(HydraConfig.get().sweep.dir)

    def do() -> None:
        if compose_only:
            execute(work, compose_only=True)
        else:
            run_in_sweep(sweep, folder, work.device)

    record_job(sweep, folder, overrides, do, ends="composed" if compose_only else "completed")


def record_job(
    sweep: SweepFolder,
    folder: RunFolder,
    varied: Sequence[str],
    work: Callable[[], float | None],
    *,
    ends: str = "completed",
) -> float | None:
    """Do a job's work and record how it ended.

    Raises:
        UserError: if it failed in any way, since launchers can send this error to the command.

    """
    leader = sweep.leader.pid
    if os.getpid() != leader:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command sets the stop sign
    if os.getppid() == leader:
        stop_with_parent()  # else joblib's processes outlive a killed command
    see_all_gpus(sweep)
    number = HydraConfig.get().job.num
    record = JobRecord(list(varied), str(folder.path), "", ends)
    try:
        if sweep.is_stopping():
            raise UserError("The sweep was stopped before this job began.")
        value = work()
    except Exception as failure:
        sweep.record(number, record._replace(error=f"{failure}"))
        _say(f"{' '.join(varied)}: {failure}")
        raise UserError(f"{failure}") from failure
    sweep.record(number, record)
    _say(f"{' '.join(varied)}: {ends}")
    return value


def run_in_sweep(sweep: SweepFolder, folder: RunFolder, device: Device) -> None:
    """Execute a folder as a job, with its own GPUs if it uses any."""
    processes, gpus, is_stopping = device.processes_here(), device.gpus_here(), sweep.is_stopping
    needed = 0 if gpus == 0 or is_allocated() else processes
    with own_gpus(needed, visible_gpus(gpus), is_stopping) as names:
        if len(names) < needed:
            raise UserError("The sweep was stopped before this job had its GPUs.")
        run_worker(folder, processes, is_stopping=is_stopping, log=_log(folder), gpus=names)


def varied_overrides(arguments: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return a job's overrides that have several values in the command, or come from a sweeper."""
    parser = OverridesParser.create()
    given = parser.parse_overrides(list(arguments))
    fixed = {override.key_or_group for override in given if not override.is_sweep_override()}
    return [o for o in overrides if key_of(o) not in fixed]


def _build_pieces(composed: Composed, folder: RunFolder) -> Pieces:
    """Build the job's pieces; record a mistake as the folder's failure."""
    try:
        pieces = build_and_try(RunConfig.of(composed.content))
        pieces.config.device.require()
        if _is_compared(composed):
            target = choose_target_metric(composed.objective, pieces.config, pieces.task)
            require_direction(HydraConfig.get().sweeper, target)
    except UserError as error:
        folder.write_status("failed", error=f"{type(error).__name__}: {error}")
        raise
    return pieces


def _is_compared(composed: Composed) -> bool:
    """Check whether the job's value is read, by a search or because the user named it."""
    return composed.objective is not None or direction_of(HydraConfig.get().sweeper) is not None


def _value(composed: Composed, config: RunConfig, task: Task, folder: RunFolder) -> float | None:
    if not _is_compared(composed):
        return None
    return read_target_metric(folder, choose_target_metric(composed.objective, config, task))


def _log(folder: RunFolder) -> Path | None:
    """Return the file of the worker's output; None for the terminal if jobs run one by one."""
    hydra_config: HydraConf = HydraConfig.get()
    return None if hydra_config.launcher._target_ == BASIC_LAUNCHER else folder.log


def _say(message: str) -> None:
    say(f"Job {HydraConfig.get().job.num}: {message}")
