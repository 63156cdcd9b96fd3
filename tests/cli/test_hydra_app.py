"""Hydra composes for the commands, and what it says of mistakes is said in a user's words."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from metaloop.cli.configs import CONF
from metaloop.cli.hydra_app import compose_choice, require_all
from metaloop.errors import UserError


def test_jobs_are_called_by_their_command():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", return_hydra_config=True)
    assert config.hydra.job.name == "metaloop-train"


def test_a_choice_is_composed_by_itself_with_its_own_values():
    node = compose_choice("task", "sinusoid", [])
    assert node["_target_"] == "metaloop.Sinusoid"
    assert node["shots"] == 10


def test_an_unknown_choice_is_answered_by_those_there_are():
    with pytest.raises(UserError, match=r"task=sinusiod is unknown. Did you mean sinusoid"):
        compose_choice("task", "sinusiod", [])


def test_a_value_that_is_missing_is_asked_for_by_its_key():
    require_all(OmegaConf.create({"task": {"shots": 1}}))
    with pytest.raises(UserError, match=r"^task.data_dir is needed: add task.data_dir=VALUE"):
        require_all(OmegaConf.create({"task": {"shots": 1, "data_dir": "???"}}))
