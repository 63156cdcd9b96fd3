"""A run with a damaged file goes on, or names the file: never a traceback.

Long: run it by pytest -m slow tests/run/test_damage.py -s; METALOOP_DAMAGES makes it longer.
"""

import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run
from metaloop.run.train import train
from tests.folders.test_reading import damage
from tests.forks import command, in_child
from tests.run.stopped_runs import write

DAMAGES = int(os.environ.get("METALOOP_DAMAGES", "20"))


@pytest.fixture
def stopped(tmp_path) -> RunFolder:
    """A run stopped half-way, with every kind of file that a run has."""
    torch.set_num_threads(1)
    best = "+callbacks.best._target_=metaloop.BestCheckpoint"
    lengths = ("training.max_steps=10", "training.save_every=5", "training.validate_every=5")
    small = ("training.log_every=1", "callbacks=minimal", best, "evaluation.episodes=5")
    folder = write(tmp_path / "made", *lengths, *small)
    train(folder)
    config = load_config(folder)
    longer = {**config, "training": {**config["training"], "max_steps": 20}}
    rewrite_run(folder, longer, ["training.max_steps=20"], [])
    folder.changes.write_text('{"accepted": []}')
    return folder


@pytest.mark.slow
def test_whatever_file_is_damaged_the_run_goes_on_or_names_it(stopped, tmp_path):
    files = sorted(p.relative_to(stopped.path) for p in stopped.path.rglob("*") if p.is_file())
    files = [name for name in files if name.suffix in (".yaml", ".json", ".csv", ".ckpt")]
    outcomes = []
    for number in range(DAMAGES):
        sweep = tmp_path / f"sweep{number}"
        run = RunFolder(shutil.copytree(stopped.path, sweep / "damaged"))
        shutil.copytree(stopped.path, sweep / "whole")
        name = random.Random(number).choice(files)
        path = run.path / name
        damage(path, number % 41, path.read_bytes())
        shown = said_by(tmp_path / "log", "sweep", str(sweep))
        assert (sweep / "sweep.csv").read_text().count("whole,") == 1, shown[1]
        ended = [
            said_by(tmp_path / "log", "evaluate", f"run={run.path}", "name=again"),
            said_by(tmp_path / "log", "resume", str(run.path)),
            shown,
        ]
        for status, words in ended:
            assert "Traceback" not in words, f"{name}: {words}"
            assert status == 0 or (status == 1 and path.name in words), f"{name}: {words}"
        outcomes.append("goes on" if ended[1][0] == 0 else "is named")
        print(f"damage {number + 1} to {name}: {outcomes[-1]}", flush=True)
    assert {"goes on", "is named"} == set(outcomes)


def said_by(log: Path, name: str, *arguments: str) -> tuple[int, str]:
    status = in_child(command(name, *arguments), log)
    return status, log.read_text()
