"""The run of a preset with a seed: composed as a user would, and limited in time."""

import os
import signal

import pytest

from metaloop.cli.preset_run import PresetRun, TimeLimit, compose_preset
from metaloop.errors import UserError


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> PresetRun:
    return compose_preset("finn2017/sinusoid", 3, [], tmp_path_factory.mktemp("home"))


def test_it_is_the_presets_config_with_its_seed(plain):
    assert plain.config.seed == 3
    assert plain.config.training.max_steps == 70000
    assert list(plain.overrides[:2]) == ["experiment=finn2017/sinusoid", "seed=3"]
    assert not plain.folder.path.exists()  # composing writes nothing


def test_a_change_makes_another_folder_of_the_same_seed(plain):
    home = plain.folder.path.parents[2]
    longer = compose_preset("finn2017/sinusoid", 3, ["training.max_steps=7"], home)
    assert longer.config.training.max_steps == 7
    assert longer.folder.path.parent == plain.folder.path.parent == home / "finn2017/sinusoid"
    assert longer.folder.path != plain.folder.path
    assert all(run.folder.path.name.startswith("3_") for run in (plain, longer))


def test_values_of_one_protocol_are_one_evaluation(plain):
    # the preset trains with ten points, and its three published values are for five
    assert plain.evaluations() == {"test_task.shots=5": ["task.shots=5"]}


def test_what_does_not_compose_is_refused(tmp_path):
    with pytest.raises(UserError, match="experiment=finn2017/sinus is unknown"):
        compose_preset("finn2017/sinus", 0, [], tmp_path)


def test_a_limit_is_over_after_its_hours_or_at_a_stop_signal():
    assert TimeLimit(0).is_over()
    before = signal.getsignal(signal.SIGTERM)
    with TimeLimit(None) as limit:
        assert not limit.is_over()
        os.kill(os.getpid(), signal.SIGTERM)
        assert limit.is_over()
    assert signal.getsignal(signal.SIGTERM) is before
