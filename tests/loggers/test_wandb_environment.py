"""What W&B's own environment variables and rules say is respected, or refused in words."""

import re

import pytest
import yaml

from metaloop.cli.sweeps.labels import label_job
from metaloop.errors import UserError
from metaloop.loggers import OutageProofWandbLogger
from metaloop.loggers.wandb_logger import wandb_mode

RUN = ("experiment=smoke", "device=cpu", "compose_only=true")


@pytest.mark.parametrize(
    ("mode", "disabled", "expected"),
    [
        (None, None, "offline"),
        ("online", None, "online"),
        ("online", "true", "disabled"),
        (None, "1", "disabled"),
        ("online", "false", "online"),
        ("", "", "offline"),
    ],
)
def test_the_older_word_for_disabled_still_works(mode, disabled, expected, monkeypatch):
    for name, value in (("WANDB_MODE", mode), ("WANDB_DISABLED", disabled)):
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    assert wandb_mode("offline") == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"id": "a/b"}, r"id=a/b \(or WANDB_RUN_ID\): Run ID cannot contain"),
        ({"project": "my proj/x"}, r"project=my proj/x \(or WANDB_PROJECT\): .*found '/'"),
        ({"tags": ["x" * 65]}, r"tags=.* \(or WANDB_TAGS\): .* 64"),
        ({"nope": 1}, "nope is unknown"),
        ({"resume": 3}, "resume=3 does not fit"),
    ],
)
def test_what_wandb_would_refuse_is_refused_when_the_logger_is_made(arguments, says):
    with pytest.raises(UserError, match=says):
        OutageProofWandbLogger(**{"project": "p", **arguments})


def test_the_config_names_a_run_before_the_environment_does(tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "WANDB_PROJECT": "elsewhere",
        "WANDB_NAME": "mine",
        "WANDB_TAGS": "a,b",
        "WANDB_DIR": "kept",
        "WANDB_RUN_ID": "abc",
    }.items():
        monkeypatch.setenv(name, value)
    said("train", *RUN, "+logger.wandb.name=this")
    (path,) = (tmp_path / "outputs").glob("*/config.yaml")
    config = yaml.safe_load(path.read_text())
    node = config["logger"]["wandb"]
    assert (node["project"], node["name"], node["tags"]) == ("elsewhere", "this", ["a", "b"])
    assert (node["save_dir"], config["run_id"]) == (str(tmp_path / "kept"), "abc")

    monkeypatch.setenv("WANDB_RUN_ID", "a/b")
    heard = said("train", *RUN, "output_dir=none", status=1)
    assert re.search("WANDB_RUN_ID", heard.err)
    assert not (tmp_path / "none").exists()

    monkeypatch.setenv("WANDB_NAME", "${seed}")
    heard = said("train", *RUN, "output_dir=none", status=1)
    assert "WANDB_NAME=${seed}: " in heard.err


def test_jobs_of_a_sweep_are_named_by_what_varies():
    config = {"logger": {"wandb": {"name": "mine"}}}
    label_job(config, "sweep", ["seed=1"])
    assert config["logger"]["wandb"] == {"name": "mine seed=1", "group": "sweep"}
    config = {"logger": {"wandb": {}}}
    label_job(config, "sweep", ["seed=1"])
    assert config["logger"]["wandb"] == {"name": "seed=1", "group": "sweep"}
