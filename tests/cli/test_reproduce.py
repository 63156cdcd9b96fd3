"""metaloop-reproduce: a preset run whole, recorded, and put next to its published values."""

import json
import shutil

import pytest

from metaloop.folders.run_folder import RunFolder
from metaloop.loggers.metrics_csv import read_rows

TINY = """\
# @package _global_
# A preset of a few steps.
defaults:
  - /experiment/finn2017/sinusoid
  - _self_

task: {shots: 3, queries: 2}
data: {meta_batch_size: 2, validation_episodes: 2}
training: {max_steps: 4, validate_every: 2, log_every: 1, save_every: 1}
evaluation: {episodes: 20}

published:
  - {metric: query_loss, inner_step: 1, mean: 1000.0, source: "Anyone 2026", where: {task.shots: 2}}
  - {metric: query_loss, inner_step: 2, mean: 0.001, ci95: 0.0, source: "Anyone 2026"}
"""


@pytest.fixture
def ours(tmp_path, monkeypatch):
    """A folder with a tiny preset; runs and board lie in it, too."""
    preset = tmp_path / "conf/experiment/tiny.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text(TINY)
    monkeypatch.setenv("METALOOP_BOARD", str(tmp_path / "runs"))
    return tmp_path


def options(folder):
    return ("--config-dir", str(folder / "conf"), "--board", str(folder / "board"))


def test_a_preset_is_run_recorded_and_judged_and_a_run_that_is_there_is_used_again(ours, said):
    for _ in range(2):
        said("reproduce", "tiny", "device=cpu", *options(ours))
    assert len(list((ours / "runs/tiny").iterdir())) == 1
    (run,) = (RunFolder(path) for path in (ours / "runs/tiny").iterdir())
    first, second = json.loads((ours / "board/board.json").read_text())["rows"][-2:]
    results = json.loads((run.evaluations / "test_task.shots=2" / "results.json").read_text())
    # what is on the board is what the evaluation of two points found after one step
    assert first["ours"]["mean"] == results["metrics"]["query_loss"]["mean"][1]
    assert (first["verdict"], second["verdict"]) == ("above", "below")  # of a loss
    assert first["runs"]["0"]["meta_steps"] == first["runs"]["0"]["meta_steps_asked"] == 4
    record = ours / "board/tiny/0"
    assert not list(record.rglob("*.ckpt"))
    assert read_rows(record / "metrics.csv") == read_rows(run.metrics)
    # the board is that of its record, and says so; without it there is no figure
    said("reproduce", "--check", *options(ours))
    preset = ours / "conf/experiment/tiny.yaml"
    preset.write_text(TINY.replace("shots: 3", "shots: 4"))
    assert "task.shots 3 -> 4" in said("reproduce", "--check", *options(ours), status=1).err
    shutil.rmtree(record)
    assert (
        "and None (not run) in its records"
        in said("reproduce", "--check", *options(ours), status=1).err
    )


def test_the_list_says_what_is_published_and_what_has_not_run(ours, said):
    listed = said("reproduce", *options(ours)).out
    assert listed.count("not run") > 60
    assert "finn2017/sinusoid_pretrain" in listed
    assert "0.987 +/- 0.004" in listed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["finn2017/sinusiod"],
            "with published values. Did you mean finn2017/sinusoid?",
        ),
        (["smoke"], "smoke is not a preset with published values"),
        (["tiny", "algorithm.inner_lr=1"], "would make it another run than the preset's"),
        (["tiny", "--seeds", "0"], "name at least 1"),
    ],
)
def test_mistakes_are_named(ours, said, arguments, says):
    assert says in said("reproduce", *arguments, *options(ours), status=1).err


def test_no_time_is_no_run(ours, said):
    told = said("reproduce", "tiny", "--hours", "0", *options(ours)).out
    assert "tiny, seed 0: the same command continues from here" in told
    assert not (ours / "runs").exists()
