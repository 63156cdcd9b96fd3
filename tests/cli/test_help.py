"""--help and --version answer at once, and as Hydra would; test_start_up.py has what they cost."""

import re

import pytest

from tests.conftest import run_command


def test_help_says_what_hydra_would(tmp_path):
    (tmp_path / "mine" / "task").mkdir(parents=True)
    (tmp_path / "mine" / "task" / "walk.yaml").write_text("_target_: mine.Walk\n")
    for command in ("metaloop-train", "metaloop-evaluate"):
        arguments = ("--help", "--config-dir", "mine")
        ours = run_command(command, *arguments, cwd=tmp_path)
        # beside an option that help does not know, Hydra gives its own
        hydras = run_command(command, *arguments, "--multirun", cwd=tmp_path)
        assert ours.stdout == hydras.stdout
        assert ("walk" in ours.stdout) == (command == "metaloop-train")


def test_help_with_wrong_arguments_says_what_is_wrong(tmp_path):
    for wrong, says in (
        ("task.shotz=5", "task.shotz is unknown. Did you mean shots"),
        ("--config-dir=nowhere", "directory .*nowhere.* not found"),
    ):
        done = run_command("metaloop-train", "--help", wrong, cwd=tmp_path)
        assert done.returncode == 1
        assert re.search(says, done.stderr)


@pytest.mark.parametrize("command", ["train", "evaluate", "adapt"])
def test_the_version_is_metaloops(command, said):
    assert re.fullmatch(r"metaloop \d+\.\d+\.\d+\n", said(command, "--version").out)
