"""A search is kept in its sweep's folder, where the same command goes on with it."""

from functools import partial

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import UniformDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from metaloop.cli.sweeps.study import prepare_study
from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder


def test_a_search_goes_on_in_the_direction_that_it_was_begun_in(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    optuna.create_study(study_name="metaloop", storage=storage, direction="maximize")
    sweeper = {"storage": None, "study_name": None, "max_failure_rate": 1.0}
    hydra = OmegaConf.create(
        {
            "sweeper": {**sweeper, "direction": "minimize"},
            "sweep": {"dir": str(tmp_path)},
            "overrides": {"hydra": []},
        }
    )
    with pytest.raises(
        UserError, match="began with hydra.sweeper.direction=maximize.*another folder"
    ):
        prepare_study(hydra)


def searched(folder):
    """Hydra's config of a search of ten trials."""
    sweeper = {"storage": None, "study_name": None, "n_trials": 10, "max_failure_rate": 0.0}
    return OmegaConf.create(
        {
            "sweeper": {**sweeper, "sampler": {"seed": 7}},
            "sweep": {"dir": str(folder)},
            "overrides": {"hydra": []},
        }
    )


def test_a_study_goes_on_with_what_failed_and_draws_nothing_twice(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    study = optuna.create_study(study_name="metaloop", storage=storage)
    ask = partial(study.ask, {"x": UniformDistribution(0, 1)})
    study.tell(ask(), 1.0)
    cut_off, failed, mended = ask(), ask(), ask()
    for trial in (failed, mended):
        study.tell(trial, state=TrialState.FAIL)
    with pytest.warns(ExperimentalWarning):
        study.enqueue_trial(mended.params)
    study.tell(ask(), 2.0)
    hydra = searched(tmp_path)
    prepare_study(hydra)
    assert hydra.sweeper.n_trials == 8  # two of ten are complete
    assert hydra.sweeper.max_failure_rate == 1.0
    trials = optuna.load_study("metaloop", storage).trials
    assert trials[cut_off.number].state == TrialState.FAIL
    waiting = [t.system_attrs["fixed_params"] for t in trials if t.state == TrialState.WAITING]
    assert waiting == [cut_off.params, failed.params]
    assert hydra.sweeper.sampler.seed == 7 + len(trials)
    prepare_study(hydra)  # once more: what waits already is not queued again
    assert len(optuna.load_study("metaloop", storage).trials) == len(trials)


def test_a_trial_that_diverged_is_not_tried_again_and_counts(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    study = optuna.create_study(study_name="metaloop", storage=storage)
    trial = study.ask({"optimizer.lr": UniformDistribution(0, 1)})
    study.tell(trial, state=TrialState.FAIL)
    folder = RunFolder.create(tmp_path, "job")
    overrides = ["task=omniglot", f"optimizer.lr={trial.params['optimizer.lr']}"]
    folder.config.write_text("{}")
    folder.overrides.write_text(OmegaConf.to_yaml(overrides))
    folder.write_status("diverged", reason="at meta-step 3")
    hydra = searched(tmp_path)
    prepare_study(hydra)
    assert hydra.sweeper.n_trials == 9
    assert not optuna.load_study("metaloop", storage).get_trials(states=(TrialState.WAITING,))
