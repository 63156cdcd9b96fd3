"""A search looks for the best value of its target metric, never for the worst."""

import re

import pytest
from hydra import compose, initialize_config_dir

from metaloop.cli.configs import CONF
from metaloop.cli.sweeps.direction import check_search
from tests.cli.sweeps.sweeps import SEARCH


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["hydra.sweeper.direction=maximize"], "the worst val/query_loss. Set .*=minimize"),
        (["objective=val/auc"], "objective=val/auc is not a metric of this task"),
    ],
)
def test_a_search_for_the_worst_is_refused_before_there_is_a_folder(
    arguments, says, tmp_path, monkeypatch, said
):
    monkeypatch.chdir(tmp_path)
    assert re.search(says, said("train", "-m", *SEARCH, *arguments, status=1).err)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("varied", "fixed"),
    [
        ("task=choice(sinusoid,harmonic)", ()),
        ("model.hidden=choice([8],[9])", ("task.shots=x",)),  # which they refuse themselves
    ],
)
def test_a_search_whose_jobs_decide_what_is_compared_is_left_to_them(varied, fixed):
    arguments = ["hydra/sweeper=optuna", "hydra.sweeper.direction=maximize", *fixed]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", arguments, return_hydra_config=True)
    config.hydra.overrides.task = [varied]
    check_search(config)
