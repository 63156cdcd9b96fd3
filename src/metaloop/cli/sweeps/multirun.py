"""A sweep from its command's side: begun, stopped, and reported however it ends."""

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write

from metaloop.folders.sweep_folder import SweepFolder
from metaloop.user_text import for_hydra, for_shell

OPTUNA = "hydra_plugins.hydra_optuna_sweeper"


class LeadSweep(Callback):
    """Hydra calls this before a multirun's first job: from then on the sweep has a folder.

    Ctrl-C and SIGTERM put up its sign to stop, which jobs look for wherever a launcher runs them;
    a second one ends the command at once.
    """

    sweep: SweepFolder | None = None  # Hydra makes the callback, run_hydra asks for its sweep

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:  # noqa: ANN401 - Hydra's
        with read_write(config.hydra):
            # resolved once: it names the time
            config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).resolve())
            LeadSweep.sweep = SweepFolder(config.hydra.sweep.dir)
            LeadSweep.sweep.begin(list(config.hydra.overrides.task))
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, _stop)
            if str(config.hydra.sweeper._target_).startswith(OPTUNA):
                # SQLAlchemy 1 speaks of what Optuna would have to change for 2; the extra pins 1
                os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")
                from metaloop.cli.sweeps.study import prepare_study  # here: Optuna is an extra

                prepare_study(config.hydra)


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
    sweep = LeadSweep.sweep
    assert sweep is not None
    if sweep.is_stopping():
        raise KeyboardInterrupt
    sweep.stop()
    print("\nStopping the jobs; once more to stop at once.", file=sys.stderr, flush=True)


def report_sweep(sweep: SweepFolder, error: BaseException | None) -> int:
    """Say how the jobs ended, each failure with its error and folder; return the exit status."""
    jobs = sweep.records()
    failed = [job for job in jobs if job.error]
    print(f"\n{len(jobs)} jobs: {len(jobs) - len(failed)} completed, {len(failed)} not.")
    for job in failed:
        print(f"  {' '.join(job.overrides)}\n    {job.error}\n    {job.folder}", file=sys.stderr)
    if error is not None and not failed and not sweep.is_stopping():
        print(f"Error: {error}", file=sys.stderr)
    command = Path(sys.argv[0]).name
    if command == "metaloop-train":
        print(f"Table: {for_shell('metaloop-sweep', sweep.path)}")
    if error is None and not failed:
        return 0
    if command == "metaloop-train":
        again = [a for a in sys.argv[1:] if not a.startswith("hydra.sweep.dir=")]
        again.append(for_hydra("hydra.sweep.dir", sweep.path))
        print(f"What is missing:\n  {for_shell(command, *again)}")
    return 128 + signal.SIGINT if sweep.is_stopping() else 1
