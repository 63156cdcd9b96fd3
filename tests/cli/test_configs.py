"""Configs are found in conf/ and in a user's own folders, which win."""

from pathlib import Path

import pytest
import yaml

from metaloop.cli.configs import (
    CONF,
    choices,
    config_dirs,
    find_choice,
    groups,
    is_group,
    look_first_in,
    own_configs,
)
from metaloop.folders.run_folder import RunFolder

RUN = ("experiment=smoke", "logger=csv", "device=cpu", "compose_only=true")


@pytest.fixture
def mine(tmp_path):
    """A folder of a user's own configs, searched for the time of a test."""
    for name in ("optimizer/adam", "walk/far/away"):
        path = tmp_path / "mine" / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text("lr: 0.25\n")
    look_first_in([tmp_path / "mine"])
    yield tmp_path / "mine"
    look_first_in([])


def test_the_folders_are_those_that_the_arguments_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    named = config_dirs(["task=x", "--config-dir=a", "-cd", "b", "--config-dir", "/c", "seed=1"])
    assert named == [tmp_path / "a", tmp_path / "b", Path("/c")]


def test_own_groups_and_choices_are_listed_with_the_built_in_ones(mine):
    assert own_configs() == [mine / "optimizer/adam.yaml", mine / "walk/far/away.yaml"]
    assert {"optimizer", "task"} <= set(groups())
    assert (is_group("walk"), is_group("wlak"), is_group("")) == (True, False, False)
    assert choices("walk") == ["far/away"]
    assert choices("optimizer").count("adam") == 1
    assert "finn2017/sinusoid" in choices("experiment")


def test_the_users_file_is_found_before_ours(mine):
    assert find_choice("optimizer", "adam") == mine / "optimizer/adam.yaml"
    assert find_choice("optimizer", "sgd") == CONF / "optimizer/sgd.yaml"


def test_the_users_config_wins_over_a_built_in_one_of_its_name(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    for group in ("optimizer", "experiment"):
        (tmp_path / "mine" / group).mkdir(parents=True)
    (tmp_path / "mine/optimizer/adam.yaml").write_text("_target_: torch.optim.Adam\nlr: 0.25\n")
    smoke = "# @package _global_\ntraining: {max_steps: 7}\n"
    (tmp_path / "mine/experiment/smoke.yaml").write_text(smoke)
    said("train", *RUN, "--config-dir=mine", "optimizer=adam")
    (folder,) = (tmp_path / "outputs").iterdir()
    config = yaml.safe_load(RunFolder(folder).config.read_text())
    assert config["optimizer"]["lr"] == 0.25
    assert config["training"]["max_steps"] == 7
    said("train", *RUN, "output_dir=others")  # and where nobody asks for it, it is not there
    (folder,) = (tmp_path / "others").iterdir()
    assert yaml.safe_load(RunFolder(folder).config.read_text())["optimizer"]["lr"] == 1e-3
