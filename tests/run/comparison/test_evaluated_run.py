"""A run and its evaluation are found by the folder of either."""

import pytest

from metaloop.errors import UserError
from metaloop.run.comparison.evaluated_run import (
    data_of,
    find_evaluated_run,
    find_evaluated_runs,
)
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_adaptation, write_evaluation


@pytest.fixture
def run(make_run):
    return make_run("seed=3")


def test_by_the_runs_folder_and_by_the_evaluations_it_is_the_same(run):
    config = {**load_config(run), "seed": 5}
    folder = write_evaluation(run, "test", config, [])
    one, other = find_evaluated_run(run, "test"), find_evaluated_run(folder, "ignored")
    assert one.folder.path.resolve() == other.folder.path.resolve() == folder.path.resolve()
    assert (one.seed, one.episode_seed) == (other.seed, other.episode_seed) == (3, 5)
    assert one.run.path.resolve() == other.run.path.resolve()
    assert len(find_evaluated_runs([run.path, folder.path], "test")) == 1  # each once


def test_before_there_is_an_evaluation_the_runs_own_config_stands_for_it(run):
    assert find_evaluated_run(run, "test").episode_seed == 3


def test_the_keys_of_test_episodes_leave_out_how_a_learner_is_judged(run):
    found = find_evaluated_run(run, "test")
    keys = found.episode_keys()
    assert {"seed", "task.shots", "evaluation.split"} <= set(keys)
    assert keys["evaluation.interval"] == found.interval == "closed"
    assert not {"evaluation.checkpoint", "evaluation.norm_modes", "algorithm.inner_lr"} & set(keys)


def test_an_adaptation_is_refused(run):
    place = write_adaptation(run, "mine", load_config(run), [], replaces=False)
    with pytest.raises(UserError, match="is an adaptation, to one task"):
        find_evaluated_run(place, "test")


def test_what_a_sweep_has_not_completed_is_left_out_by_name(run, capsys):
    run.write_status("failed")
    with pytest.raises(UserError, match="No run there has completed"):
        find_evaluated_runs([run.path.parent], "test")
    assert f"Left out: {run.path} (failed)" in capsys.readouterr().out


def test_folders_of_data_are_found_wherever_a_config_names_them():
    config = {"task": {"data_dir": "a", "of": {"x": {"data_dir": "b"}, "y": {"data_dir": None}}}}
    assert data_of(config) == {"task.data_dir": "a", "task.of.x.data_dir": "b"}
