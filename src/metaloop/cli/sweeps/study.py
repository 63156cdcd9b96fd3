"""Keep Optuna's study in the sweep's folder, so that the same command continues it."""

import logging
import warnings
from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from metaloop.cli.sweeps.direction import direction_of
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import read_overrides

# Defaults of ours; Hydra's plugin leaves the first two unset, and ends a search at a failure.
STORAGE = "sqlite:///{}/optuna.db"
STUDY = "metaloop"
FAILURE_RATE = "hydra.sweeper.max_failure_rate"


def prepare_study(hydra: DictConfig) -> None:
    """Keep the study in the sweep's folder, and continue it if it exists.

    The sweeper then runs as many trials as are missing from n_trials. Trials that a killed command
    left running are marked as failed. Failed ones are tried again with the same values, before any
    new ones, which continues interrupted runs. Trials that diverged count as done: they would
    diverge again. The sampler gets another seed, or it would draw the same values again.

    Raises:
        UserError: if the study searches in the other direction.

    """
    optuna.logging.set_verbosity(logging.WARNING)
    sweeper = hydra.sweeper
    sweeper.storage = sweeper.storage or STORAGE.format(hydra.sweep.dir)
    sweeper.study_name = sweeper.study_name or STUDY
    if not any(o.startswith(f"{FAILURE_RATE}=") for o in hydra.overrides.hydra):
        sweeper.max_failure_rate = 1.0
    try:
        study = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage)
    except KeyError:
        return  # the sweeper creates it
    _require_direction(study.direction.name.lower(), direction_of(sweeper), hydra.sweep.dir)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    settled = study.get_trials(states=(TrialState.COMPLETE, TrialState.WAITING))
    known = [_values(trial) for trial in settled]
    diverged = _find_diverged(Path(hydra.sweep.dir))
    n_diverged = 0
    for trial in study.get_trials(states=(TrialState.FAIL,)):
        if trial.params and any(_overrides(trial) <= overrides for overrides in diverged):
            n_diverged += 1
        elif trial.params and trial.params not in known:
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                study.enqueue_trial(trial.params)
            known.append(trial.params)
    completed = study.get_trials(states=(TrialState.COMPLETE,))
    sweeper.n_trials = max(0, sweeper.n_trials - len(completed) - n_diverged)
    if sweeper.sampler.get("seed") is not None:
        sweeper.sampler.seed += len(study.trials)


def _find_diverged(sweep: Path) -> list[set[str]]:
    """Return the overrides of every job of a sweep that diverged."""
    folders = [RunFolder(path.parent) for path in sweep.glob("*/config.yaml")]
    return [{*read_overrides(folder)} for folder in folders if folder.state() == "diverged"]


def _overrides(trial: FrozenTrial) -> set[str]:
    """Return the overrides that Hydra's sweeper makes of a trial."""
    return {f"{name}={value}" for name, value in trial.params.items()}


def _require_direction(kept: str, wanted: str | None, folder: str) -> None:
    if wanted not in (kept, None):
        raise UserError(
            f"The search in {folder} began with hydra.sweeper.direction={kept}, which cannot "
            f"change. Keep it, or search in another folder: leave hydra.sweep.dir out."
        )


def _values(trial: FrozenTrial) -> dict[str, object]:
    """Return the values of a trial; of a waiting one those that it will get."""
    return trial.params or trial.system_attrs.get("fixed_params", {})
