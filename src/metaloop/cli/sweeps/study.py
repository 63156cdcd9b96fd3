"""Optuna's study of a sweep: kept in its folder, so that the same command goes on with it."""

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

# What Hydra's plugin leaves unset, or sets so that a search cannot outlive a failure.
STORAGE = "sqlite:///{}/optuna.db"
STUDY = "metaloop"
FAILURE_RATE = "hydra.sweeper.max_failure_rate"


def prepare_study(hydra: DictConfig) -> None:
    """Keep the study in the sweep's folder, and let a failed trial not end it.

    Where the storage holds the study already, the sweeper runs what it lacks of n_trials
    completed trials. Those that a killed command left running are marked failed. What failed is
    tried again with the same values before anything new: an interrupted run goes on so. A run that
    diverged would do so again: its trial stays failed, and counts. The sampler gets another seed:
    with the same it would draw the same values again.

    Raises:
        UserError: the study there looks in the other direction.

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
        return  # a new one, which the sweeper makes
    _require_direction(study.direction.name.lower(), direction_of(sweeper), hydra.sweep.dir)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    settled = study.get_trials(states=(TrialState.COMPLETE, TrialState.WAITING))
    known = [_values(trial) for trial in settled]
    diverged = _diverged(Path(hydra.sweep.dir))
    hopeless = 0
    for trial in study.get_trials(states=(TrialState.FAIL,)):
        if trial.params and any(_overrides(trial) <= overrides for overrides in diverged):
            hopeless += 1
        elif trial.params and trial.params not in known:
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                study.enqueue_trial(trial.params)
            known.append(trial.params)
    completed = study.get_trials(states=(TrialState.COMPLETE,))
    sweeper.n_trials = max(0, sweeper.n_trials - len(completed) - hopeless)
    if sweeper.sampler.get("seed") is not None:
        sweeper.sampler.seed += len(study.trials)


def _diverged(sweep: Path) -> list[set[str]]:
    """The overrides of every job of a sweep that diverged."""
    folders = [RunFolder(path.parent) for path in sweep.glob("*/config.yaml")]
    return [{*read_overrides(folder)} for folder in folders if folder.state() == "diverged"]


def _overrides(trial: FrozenTrial) -> set[str]:
    """The overrides that Hydra's sweeper makes of a trial."""
    return {f"{name}={value}" for name, value in trial.params.items()}


def _require_direction(kept: str, wanted: str | None, folder: str) -> None:
    if wanted not in (kept, None):
        raise UserError(
            f"The search in {folder} was begun with hydra.sweeper.direction={kept}, which stays. "
            f"Go on with that, or search in a folder of its own: leave hydra.sweep.dir out."
        )


def _values(trial: FrozenTrial) -> dict[str, object]:
    """What a trial is or, while it waits, is going to be made of."""
    return trial.params or trial.system_attrs.get("fixed_params", {})
