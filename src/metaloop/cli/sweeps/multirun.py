"""A sweep from its command's side: begun, stopped, and reported however it ends."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write

from metaloop.cli.mistakes import fail
from metaloop.errors import UserError
from metaloop.folders.sweep_folder import SweepFolder
from metaloop.folders.user_path import user_path
from metaloop.process.fast_import import fast_imports
from metaloop.process.signals import stop_signals
from metaloop.process.terminal import say_in_handler
from metaloop.user_text import for_hydra, for_shell, say

OPTUNA = "hydra_plugins.hydra_optuna_sweeper"


class LeadSweep(Callback):
    """Hydra calls this before a multirun's first job: from then on the sweep has a folder.

    Ctrl-C, SIGTERM and a closed terminal put up its sign to stop, which jobs look for wherever a
    launcher runs them; a second one ends the command at once.
    """

    sweep: SweepFolder | None = None  # Hydra makes the callback, run_hydra asks for its sweep

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        try:
            with read_write(config.hydra):
                LeadSweep.sweep = begin(config)
        except Exception as error:  # Hydra would warn of it and go on
            fail(error if isinstance(error, UserError) else UserError(f"No sweep begins: {error}"))
        for number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} & {*stop_signals()}:
            signal.signal(number, _stop)


def begin(config: DictConfig) -> SweepFolder:
    """Check a sweep, and lead it in its folder: a new one where the config names it by the time.

    Raises:
        UserError: another command leads it, or it is a search that cannot find the best.

    """
    is_search = str(config.hydra.sweeper._target_).startswith(OPTUNA)
    if is_search:
        # SQLAlchemy 1 speaks of what Optuna would have to change for 2; the extra pins 1
        os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
        with fast_imports():
            from metaloop.cli.sweeps.direction import check_search
            from metaloop.cli.sweeps.study import prepare_study  # here: Optuna is an extra
        check_search(config)
    names_time = "${now" in OmegaConf.to_yaml(config.hydra.sweep)
    path = user_path(config.hydra.sweep.dir).resolve()  # once: a second later it would be another
    sweep = SweepFolder.create(path) if names_time else SweepFolder(path)
    sweep.begin(list(config.hydra.overrides.task))
    config.hydra.sweep.dir = str(sweep.path)
    if is_search:
        prepare_study(config.hydra)
    return sweep


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    sweep = LeadSweep.sweep
    assert sweep is not None
    if sweep.is_stopping():
        if number == signal.SIGHUP:  # the terminal's own is followed by its shell's
            return
        raise KeyboardInterrupt
    sweep.stop()
    say_in_handler("\nStopping the jobs; once more to stop at once.")


def report_sweep(sweep: SweepFolder, error: BaseException | None) -> int:
    """Say how the jobs ended, each failure with its error and folder; return the exit status."""
    jobs = sweep.records()
    failed = [job for job in jobs if job.error]
    did = jobs[0].ended if jobs else "completed"
    # flushed: the failures, which go to stderr, stand under it in one file for both
    say(f"\n{len(jobs)} jobs: {len(jobs) - len(failed)} {did}, {len(failed)} not.")
    for job in failed:
        say(f"  {' '.join(job.overrides)}\n    {job.error}\n    {job.folder}", is_error=True)
    if error is not None and not failed and not sweep.is_stopping():
        say(f"Error: {error}", is_error=True)
    if did == "checked":
        sweep.discard()
        return 1 if error is not None or failed else 0
    command = Path(sys.argv[0]).name
    if command == "metaloop-train":
        say(f"Table: {for_shell('metaloop-sweep', sweep.path)}")
    if error is None and not failed:
        return 0
    if command == "metaloop-train":
        again = [a for a in sys.argv[1:] if not a.startswith("hydra.sweep.dir=")]
        again.append(for_hydra("hydra.sweep.dir", sweep.path))
        say(f"What is missing:\n  {for_shell(command, *again)}")
    return 128 + signal.SIGINT if sweep.is_stopping() else 1
