"""The changes that metaloop-resume makes to a run's config."""

import re

import pytest

from metaloop.cli.resume import change_keys
from metaloop.errors import UserError


def test_changes_of_a_run_are_in_the_same_grammar():
    config = {"seed": 1, "task": {"data_dir": None, "shots": 3}, "algorithm": {"order": [1, 2]}}
    after = change_keys(config, ['task.data_dir="a, (b)"', "algorithm.order=[3]", "seed=null"])
    assert after["task"] == {"data_dir": "a, (b)", "shots": 3}
    assert (after["algorithm"], after["seed"]) == ({"order": [3]}, None)
    for wrong in ("task.data_dir=a (b)", "seed=1,2", "~seed", "+seed=1", "seed"):
        with pytest.raises(UserError, match=re.escape(wrong)):
            change_keys(config, [wrong])


CONFIG = {"model": {"_target_": "metaloop.MLP", "hidden": [40]}, "logger": {}, "seed": 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("sead=1", "sead is unknown in this run's config. Did you mean seed"),
        ("model.hiden=[8]", "model.hiden is unknown in this run's config. Did you mean hidden"),
        ("seed.x=1", "seed.x is unknown in this run's config. Keys here: none"),
        ("model=conv4", "model=conv4 makes another choice, and choices are fixed by the run"),
    ],
)
def test_only_keys_that_the_run_has_are_changed(change, says):
    with pytest.raises(UserError, match=says):
        change_keys(CONFIG, [change])


def test_the_config_that_was_given_stays_as_it_was():
    assert change_keys(CONFIG, ["model.hidden=[8]"])["model"]["hidden"] == [8]
    assert CONFIG["model"]["hidden"] == [40]
