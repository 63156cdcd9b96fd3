"""A run records what its numbers depend on: versions, git, processor and accelerators."""

import platform
import subprocess
from importlib.metadata import version

import torch

from metaloop.run.config.environment import describe_environment, processor, versions


def test_versions_are_of_python_and_of_the_packages_installed_here():
    found = versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == version("torch")
    assert found["metaloop"] == version("metaloop")


def test_machine_and_commit_are_described(tmp_path, monkeypatch):
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        who = ["-c", "user.name=x", "-c", "user.email=x@x"]
        subprocess.run(["git", *who, *command], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    found = describe_environment()
    assert found["threads"] == torch.get_num_threads()
    assert found["cpu"] == processor() != ""
    assert len(found["git"]["commit"]) == 40
    assert found["git"]["is_modified"] is False
    (tmp_path / "new.txt").touch()
    assert describe_environment()["git"]["is_modified"] is True


def test_outside_of_a_repository_there_is_no_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert describe_environment()["git"] is None
