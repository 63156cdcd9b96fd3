"""A folder's config is read whole, or refused in a sentence that names its file."""

import re

import pytest
import yaml

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config, read_overrides


def test_a_folder_of_the_first_version_is_refused_in_one_sentence(make_run):
    folder = make_run()
    folder.config.write_text(folder.config.read_text().replace("format: 1\n", ""))
    with pytest.raises(UserError, match=r"was made by metaloop 0\.1.*or train it again\.$"):
        load_config(folder)
    folder.config.write_text(folder.config.read_text() + "format: 7\n")
    with pytest.raises(UserError, match="is of format 7, and this version of metaloop reads"):
        load_config(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task": None}, "task is no section of keys and values"),
        ({"algorithm": ...}, "it is no run's config, for it says nothing of algorithm"),
        ({"command": "bake"}, "command is none of train, evaluate, adapt"),
        ({"command": "evaluate"}, "it names no run"),
    ],
)
def test_what_is_no_runs_config_is_named_with_its_file(change, says, make_run):
    folder = make_run()
    config = {**yaml.safe_load(folder.config.read_text()), **change}
    kept = {name: value for name, value in config.items() if value is not ...}
    folder.config.write_text(yaml.safe_dump(kept))
    with pytest.raises(UserError, match=rf"{re.escape(str(folder.config))}.*{says}"):
        load_config(folder)


def test_overrides_are_those_of_the_command_and_none_if_their_file_is_lost(make_run):
    folder = make_run("task.shots=7")
    assert read_overrides(folder)[-1] == "task.shots=7"
    folder.overrides.unlink()
    assert read_overrides(RunFolder(folder.path)) == []
