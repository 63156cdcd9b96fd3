"""The commands over a run find it by any name, and compose over its config."""

import re

import pytest
from hydra.core.config_store import ConfigStore

from metaloop.cli.over_run import offer_run_config
from metaloop.errors import UserError
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_evaluation


@pytest.mark.parametrize("command", ["evaluate", "adapt"])
def test_the_run_is_a_folder_of_any_name(command, make_run, tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    folder = make_run().path.rename(tmp_path / "my run=1, (copy) ${x}")
    for named in (folder.name, f"run={folder}", f"run='{folder.name}'"):
        heard = said(command, named, "seed=x", status=1)  # what the run is asked for comes later
        assert re.search("seed='x' .*whole number|support", heard.err), heard.err
    heard = said(command, folder.name, str(folder), status=1)
    assert f"metaloop-{command} takes one run, and these are 2" in heard.err


def offered() -> dict[str, object]:
    return ConfigStore.instance().load("run_config.yaml").node


def test_the_runs_config_is_offered_and_its_folder_becomes_an_argument(make_run):
    folder = make_run("task.shots=7")
    arguments = offer_run_config("metaloop-evaluate", ["task.shots=3", str(folder.path)])
    assert arguments == ["task.shots=3", f'run="{folder.path}"']
    assert offered()["task"]["shots"] == 7
    assert offered()["evaluation"]["interval"] == "closed"


def test_another_task_keeps_the_size_of_the_runs_episodes(make_run):
    folder = make_run("task.shots=7", "task.queries=6")
    offer_run_config("metaloop-evaluate", [str(folder.path)], task="harmonic")
    task = offered()["task"]
    assert (task["_target_"], task["shots"], task["queries"]) == ("metaloop.Harmonic", 7, 6)
    assert "noise_std" in task


def test_what_is_no_run_is_refused(make_run):
    with pytest.raises(UserError, match="metaloop-adapt needs the run: metaloop-adapt outputs/"):
        offer_run_config("metaloop-adapt", ["task.shots=3"])
    run = make_run()
    judged = write_evaluation(run, "test", load_config(run), [])
    with pytest.raises(UserError, match="is an evaluation or adaptation of a run. Name the run"):
        offer_run_config("metaloop-evaluate", [str(judged.path)])
