"""Mistakes of composing are answered in a line or two, and leave nothing behind."""

import re

import pytest
import yaml
from hydra import compose, initialize_config_dir

from metaloop.cli.configs import CONF
from metaloop.folders.run_folder import RunFolder

RUN = ("experiment=smoke", "logger=csv", "device=cpu", "compose_only=true")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def own(path, text):
    """A config of the user's own."""
    place = path / "mine"
    for name in ("task", "optimizer", "experiment"):
        (place / name).mkdir(parents=True, exist_ok=True)
    (place / "task" / "own.yaml").write_bytes(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"_target_: metaloop.Sinusoid\n\tshots: 3\n", r"task/own.yaml, line 2: .*Indent by space"),
        (b"shots: 3\nshots: 4\n", r"task/own.yaml, line 2: found duplicate key shots"),
        (b"shots: [3\n", r"task/own.yaml, line 2: "),
        (b"shots: caf\xe9\n", r"task/own.yaml is no YAML of UTF-8 text"),
        (b"defaults: [own]\n", r"defaults list leads back to itself"),
        (b"shots: ${nowhere}\n", r"task.shots: Interpolation key 'nowhere' not found"),
    ],
)
def test_a_broken_config_of_the_users_own_is_named_with_its_line(text, says, tmp_path, said):
    own(tmp_path, text)
    heard = said("train", *RUN, "--config-dir", "mine", "task=own", status=1)
    assert re.search(says, heard.err)
    assert heard.err.count("\n") <= 5
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["logger=null"], "logger=null is unknown. Choices: csv, none, tensorboard, wandb"),
        (["task=nan"], "task=nan is unknown. Did you mean|task=nan is unknown. Choices: arrays"),
        (["task@x=omniglot"], "Could not override .task@x"),
        (["tasks/x=1"], "tasks/x is unknown. Did you mean task"),
        (["--config-name", "tran"], "There is no config tran"),
    ],
)
def test_a_choice_that_is_none_is_answered_by_those_there_are(arguments, says, tmp_path, said):
    heard = said("train", *RUN, *arguments, status=1)
    assert re.search(says, heard.err)
    assert not list(tmp_path.iterdir())


def test_the_users_config_wins_over_a_built_in_one_of_its_name(tmp_path, said):
    own(tmp_path, b"")
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


@pytest.mark.parametrize("command", ["train", "evaluate", "adapt"])
def test_the_version_is_metaloops(command, said):
    assert re.fullmatch(r"metaloop \d+\.\d+\.\d+\n", said(command, "--version").out)


@pytest.mark.parametrize("command", ["resume", "sweep"])
def test_other_commands_take_run_too(command, said, capsys):
    with pytest.raises(SystemExit) as stop:
        said(command, "--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("metaloop ")
    assert "nowhere" in said(command, "run=nowhere", status=1).err


def test_jobs_are_called_by_their_command():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", return_hydra_config=True)
    assert config.hydra.job.name == "metaloop-train"


@pytest.mark.parametrize("command", ["evaluate", "adapt"])
def test_the_run_is_a_folder_of_any_name(command, make_run, tmp_path, said):
    folder = make_run().path.rename(tmp_path / "my run=1, (copy) ${x}")
    for named in (folder.name, f"run={folder}", f"run='{folder.name}'"):
        heard = said(command, named, "seed=x", status=1)  # what the run is asked for comes later
        assert re.search("seed='x' .*whole number|support", heard.err), heard.err
    heard = said(command, folder.name, str(folder), status=1)
    assert f"metaloop-{command} takes one run, and these are 2" in heard.err
