"""What a command costs before it does what it is for, told by what it imports."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from metaloop.folders.run_folder import RunFolder
from tests.conftest import run_command

COLD = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}  # python names each import on stderr
COMMANDS = ("train", "evaluate", "adapt", "resume", "sweep", "compare", "report")
# each of these takes a fifth of a second to seconds
SLOW = ("torch", "numpy", "scipy", "matplotlib", "pytorch_lightning", "torchmetrics", "wandb")
# what a run uses only where its config asks for it
OPTIONAL = ("wandb", "onnx", "onnxscript", "pandas", "transformers", "pyarrow", "optuna", "joblib")


def imports(said: str) -> list[str]:
    """What was imported, in all processes that wrote here, in their order."""
    return re.findall(r"^import time: .*\| +(\S+)$", said, re.MULTILINE)


def test_help_imports_nothing_slow():
    for command in COMMANDS:
        done = run_command(f"metaloop-{command}", "--help", env=COLD, cold=True)
        assert done.returncode == 0, done.stderr
        assert "metaloop.errors" in imports(done.stderr)
        assert not {*SLOW, *OPTIONAL} & set(imports(done.stderr)), command


@pytest.fixture(scope="module")
def cold_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """The folder of a run, and what its command said; it found the traces of another's ranks."""
    root = tmp_path_factory.mktemp("cold")
    stale = {"LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_PORT": "1"}
    arguments = ("experiment=smoke", "logger=csv", "device=cpu", "training.max_steps=1")
    done = run_command("metaloop-train", *arguments, cwd=root, env={**COLD, **stale}, cold=True)
    assert done.returncode == 0, done.stderr
    (folder,) = (root / "outputs").iterdir()
    return folder, done


def test_a_run_imports_once_and_only_what_it_uses(cold_run):
    names = imports(cold_run[1].stderr)
    assert names.count("torch") == 1  # a worker of its own would import all of it again
    assert not set(OPTIONAL) & set(names)


def test_a_rank_of_somebody_elses_is_forgotten(cold_run):
    folder, done = cold_run
    # rank 1 would have left all this to rank 0
    assert f"Training: outputs/{folder.name}" in done.stdout
    assert RunFolder(folder).read_status()["state"] == "completed"
