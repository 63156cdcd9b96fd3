"""A run is labelled at W&B by its sweep, by what varied, and as the environment says."""

import pytest

from metaloop.cli.sweeps.labels import label, label_job, read_environment_labels
from metaloop.errors import UserError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("NAME", "RUN_GROUP", "TAGS", "DIR", "SWEEP_ID"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)


def config(**node):
    return {"logger": {"wandb": node}}


def test_a_label_that_the_config_sets_stays():
    content = config(name="mine")
    label(content, name="other", group="sweep")
    assert content == config(name="mine", group="sweep")


def test_a_run_that_does_not_log_there_gets_none():
    for logger in ({}, {"wandb": None}, None):
        content = {"logger": logger}
        label(content, name="x")
        assert content == {"logger": logger}


def test_jobs_are_grouped_by_their_sweep_and_named_by_what_varies():
    content = config()
    label_job(content, "2026-01-01", ["seed=1", "algorithm=anil"])
    assert content == config(group="2026-01-01", name="seed=1 algorithm=anil")
    named = config(name="mine")
    label_job(named, "2026-01-01", ["seed=1"])
    assert named == config(group="2026-01-01", name="mine seed=1")


def test_wandbs_variables_are_labels(monkeypatch, tmp_path):
    assert read_environment_labels() == {}
    monkeypatch.chdir(tmp_path)
    for name, value in {"NAME": "n", "TAGS": "a,,b", "DIR": "there"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    there = str(tmp_path / "there")
    assert read_environment_labels() == {"name": "n", "tags": ["a", "b"], "save_dir": there}


def test_the_folder_that_an_agent_of_a_wandb_sweep_has_set_is_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    assert read_environment_labels() == {}


def test_a_label_that_a_config_would_read_as_an_interpolation_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_NAME", "${seed}")
    with pytest.raises(UserError, match="begins an interpolation. Leave it out"):
        read_environment_labels()
