"""Folders are written whole, with what they belong to, and rewritten without losing it."""

import pytest

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config, read_overrides
from metaloop.run.config.write import (
    rewrite_job,
    rewrite_run,
    write_adaptation,
    write_evaluation,
    write_run,
)
from tests.conftest import composed


def test_a_run_has_its_config_and_overrides_under_a_name_with_its_time(tmp_path):
    folder = write_run(composed("seed=3"), ["seed=3"], tmp_path / "outputs", "sinusoid_maml")
    assert load_config(folder)["seed"] == 3
    assert read_overrides(folder) == ["seed=3"]
    assert folder.path.parent == tmp_path / "outputs"
    assert folder.path.name.endswith("_sinusoid_maml")


def test_where_no_folder_can_be_made_the_key_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"No run folder can be made in output_dir=.*file"):
        write_run(composed(), [], tmp_path / "file", "x")


def test_an_evaluation_finds_its_run_by_a_path_that_stays_true_when_both_move(make_run, tmp_path):
    run = make_run()
    folder = write_evaluation(run, "test", load_config(run), ["evaluation.split=test"])
    config = load_config(folder)
    assert (config["command"], config["run"]) == ("evaluate", "../..")
    folder.let_go()
    again = write_evaluation(run, "test", load_config(run), [])
    assert again.path == folder.path


def test_an_adaptation_replaces_another_of_its_name_only_if_asked(make_run):
    run = make_run()
    names = [
        write_adaptation(run, "mine", load_config(run), [], replaces=replaces).path.name
        for replaces in (False, False, True)
    ]
    assert names == ["mine", "mine-2", "mine"]


def test_a_changed_run_keeps_its_other_overrides(make_run):
    run = make_run("task.shots=7")
    rewrite_run(run, {**load_config(run), "seed": 4}, ["seed=4", "task.shots=8"], [])
    assert load_config(run)["seed"] == 4
    assert read_overrides(run)[-2:] == ["task.shots=8", "seed=4"]


def test_a_job_that_goes_on_stays_the_same_run_at_wandb(tmp_path):
    job = RunFolder(tmp_path / "sweep" / "job")
    rewrite_job(job, {**composed(), "run_id": "first"}, [])
    rewrite_job(job, {**composed(), "run_id": "second", "seed": 9}, ["seed=9"])
    config = load_config(job)
    assert (config["run_id"], config["seed"]) == ("first", 9)
