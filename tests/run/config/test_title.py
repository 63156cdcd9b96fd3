"""A run is named by what it trains, and by its folder."""

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.title import title_of, title_of_run


def test_a_run_is_named_by_algorithm_task_and_folder(tmp_path):
    config = {"algorithm": {"_target_": "metaloop.anil"}, "task": {"_target_": "mine.Clouds"}}
    assert title_of(config) == "anil on Clouds"
    other = {**config, "algorithm": {"_target_": "metaloop.maml"}}
    assert title_of(config, other, config) == "anil, maml on Clouds"
    assert title_of_run(config, RunFolder(tmp_path / "first")) == "anil on Clouds, run first"
