"""Mistakes of composing are answered in a line or two, and leave nothing behind."""

import re

import pytest

RUN = ("experiment=smoke", "logger=csv", "device=cpu", "compose_only=true")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def own(path, text):
    """A config of the user's own."""
    place = path / "mine" / "task"
    place.mkdir(parents=True)
    (place / "own.yaml").write_bytes(text)


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


@pytest.mark.parametrize("command", ["resume", "sweep"])
def test_other_commands_take_run_too(command, said, capsys):
    with pytest.raises(SystemExit) as stop:
        said(command, "--version")
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("metaloop ")
    assert "nowhere" in said(command, "run=nowhere", status=1).err
