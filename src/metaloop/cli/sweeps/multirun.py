"""Begin, stop and report a sweep, in the command that leads it."""

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
    """Hydra's callback before the first job of a multirun, which creates the sweep's folder.

    Ctrl-C, SIGTERM and a closed terminal set the sweep's stop sign, which its jobs check, wherever
    they run; a second signal ends the command at once.
    """

    sweep: SweepFolder | None = (
        None  # on the class: Hydra constructs the callback, run_hydra reads this
    )

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        try:
            with read_write(config.hydra):
                LeadSweep.sweep = begin(config)
        except Exception as error:  # Hydra would only warn and continue
            fail(error if isinstance(error, UserError) else UserError(f"No sweep begins: {error}"))
        for number in {signal.SIGINT, signal.SIGTERM, signal.SIGHUP} & {*stop_signals()}:
            signal.signal(number, _stop)


def begin(config: DictConfig) -> SweepFolder:
    """Check a sweep and lead it in its folder, a new one if the config names it by the time.

    Raises:
        UserError: if another command leads it, or it searches in the wrong direction.

    """
    is_search = str(config.hydra.sweeper._target_).startswith(OPTUNA)
    if is_search:
        # SQLAlchemy 1, which the extra pins, warns that Optuna does not fit version 2
        os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
        with fast_imports():
            from metaloop.cli.sweeps.direction import check_search
            from metaloop.cli.sweeps.study import prepare_study  # Optuna is an extra
        check_search(config)
    names_time = "${now" in OmegaConf.to_yaml(config.hydra.sweep)
    path = user_path(config.hydra.sweep.dir).resolve()  # once: it changes every second
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
        if number == signal.SIGHUP:  # sent twice, by the terminal and by its shell
            return
        raise KeyboardInterrupt
    sweep.stop()
    say_in_handler("\nStopping the jobs; once more to stop at once.")


def report_sweep(sweep: SweepFolder, error: BaseException | None) -> int:
    """Print how the jobs ended, failures with error and folder; return the exit status."""
    jobs = sweep.records()
    failed = [job for job in jobs if job.error]
    did = jobs[0].ended if jobs else "completed"
    # flushed before the failures, which go to stderr
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
