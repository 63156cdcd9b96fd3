"""The proof that a refactoring changes no number sees every changed bit, and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch

from benchmarks.bitwise.run_folders import SHOWN, compare, summarize
from tests.conftest import ROOT

METRICS = """step,train/query_loss,train/episodes_per_second,train/memory_mb,val/query_loss
3,0.25,1000.0,400.0,
8,,,,0.5
"""
RESULTS = {
    "episodes": 50,
    "metrics": {"query_loss": {"mean": [2.0, 1.0], "ci95": [0.5, None]}},
    "protocol": {"run": "2026-01-01_sinusoid_maml", "meta_step": 8, "norm_mode": "transductive"},
    "overrides": ["seed=3"],
    "versions": {"torch": "2.13.0"},
}


def states() -> dict:
    return {
        "state_dict": {"weight": torch.tensor([[1.0, -2.0], [0.0, 4.0]]), "bias": torch.ones(3)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(8.0)}}, "param_groups": [{}]}],
        "lr_schedulers": [{"last_epoch": 8}],
        "global_step": 8,
        "callbacks": {"best": {"best_model_path": "somewhere/best.ckpt"}},
    }


@pytest.fixture
def runs(tmp_path):
    """Two run folders with the same files."""
    before, after = tmp_path / "before", tmp_path / "after"
    (before / "checkpoints").mkdir(parents=True)
    (before / "evaluations" / "test").mkdir(parents=True)
    (before / "metrics.csv").write_text(METRICS)
    for name in ("last", "best"):
        torch.save(states(), before / "checkpoints" / f"{name}.ckpt")
    judged = before / "evaluations" / "test"
    (judged / "results.json").write_text(json.dumps(RESULTS))
    (judged / "episodes.csv").write_text("episode,query_loss_step_0\n0,2.5\n1,1.5\n")
    shutil.copytree(before, after)
    assert compare(before, after) == []
    return before, after


def replace(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def changed_states(folder, change):
    content = states()
    change(content)
    torch.save(content, folder / "checkpoints" / "last.ckpt")


def test_one_bit_of_a_weight_is_found_with_both_values_and_its_size(runs):
    def change(content):
        weight = content["state_dict"]["weight"]
        weight[0, 1] = torch.nextafter(weight[0, 1], torch.tensor(-3.0))

    changed_states(runs[1], change)
    (found,) = compare(*runs)
    assert found.file == "checkpoints/last.ckpt"
    assert found.key == "state_dict/weight, first of 1 elements of 4"
    assert (found.before, found.after) == ("-2.0", "-2.000000238418579")
    assert found.relative == pytest.approx(2**-23, rel=1e-6)  # float32 has 23 bits after the first


def set_item(*keys, value):
    def change(content):
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_item("state_dict", "weight", (1, 0), value=-0.0), "0.0 -> -0.0"),
        (set_item("state_dict", "bias", 2, value=float("nan")), "1.0 -> nan"),
        (
            set_item("state_dict", "bias", value=torch.ones(3).double()),
            r"torch.float32 \[3\] -> torch.float64 \[3\]",
        ),
        (set_item("state_dict", "bias", value=torch.ones(1, 3)), r"\[3\] -> .* \[1, 3\]"),
        (set_item("state_dict", "more", value=torch.ones(3)), "missing -> torch.float32"),
        (set_item("optimizer_states", 0, "state", 0, "step", ..., value=9), "step.*8.0 -> 9.0"),
        (set_item("optimizer_states", 0, "param_groups", 0, "lr", value=0.1), "missing -> 0.1"),
        (set_item("lr_schedulers", 0, "last_epoch", value=9), "8 -> 9"),
        (set_item("global_step", value=9), "global_step: 8 -> 9"),
    ],
)
def test_whatever_a_checkpoint_holds_of_the_training_is_compared(runs, change, says):
    changed_states(runs[1], change)
    (found,) = compare(*runs)
    assert re.search(says, str(found))


def test_paths_in_a_checkpoint_are_passed_over(runs):
    changed_states(runs[1], set_item("callbacks", "best", "best_model_path", value="elsewhere"))
    assert compare(*runs) == []


def test_the_same_nan_is_the_same(runs):
    for folder in runs:
        changed_states(folder, set_item("state_dict", "bias", 2, value=float("nan")))
    assert compare(*runs) == []


def test_a_changed_cell_of_metrics_is_found_by_line_and_column(runs):
    replace(runs[1] / "metrics.csv", "0.25", "0.2500000000000001")
    (found,) = compare(*runs)
    assert str(found).startswith(
        "metrics.csv, line 2, train/query_loss: 0.25 -> 0.2500000000000001"
    )
    assert found.relative == pytest.approx(4.4e-16, rel=0.02)


def test_times_and_memory_of_metrics_are_passed_over(runs):
    replace(runs[1] / "metrics.csv", "1000.0,400.0", "999.0,401.5")
    assert compare(*runs) == []


def test_a_row_too_many_is_found(runs):
    with (runs[1] / "metrics.csv").open("a") as file:
        file.write("9,0.25,,,\n")
    assert {(one.before, one.after) for one in compare(*runs)} >= {("missing", "9")}


def test_a_changed_result_is_found_by_its_path(runs):
    replace(runs[1] / "evaluations" / "test" / "results.json", "[2.0, 1.0]", "[2.0, 1.5]")
    (found,) = compare(*runs)
    assert found == (
        "evaluations/test/results.json",
        "metrics/query_loss/mean/1",
        "1.0",
        "1.5",
        pytest.approx(1 / 3),
    )


def test_names_of_folders_versions_and_overrides_in_results_are_passed_over(runs):
    path = runs[1] / "evaluations" / "test" / "results.json"
    for old, new in [("2026-01-01", "2026-01-02"), ("seed=3", "seed=4"), ("2.13.0", "2.12.0")]:
        replace(path, old, new)
    assert compare(*runs) == []


def test_a_changed_episode_is_found(runs):
    replace(runs[1] / "evaluations" / "test" / "episodes.csv", "1.5", "1.25")
    (found,) = compare(*runs)
    assert found.key == "line 3, query_loss_step_0"


@pytest.mark.parametrize("folders", [(0,), (1,), (0, 1)])
def test_a_file_that_every_run_has_must_be_there(runs, folders):
    for folder in folders:
        (runs[folder] / "checkpoints" / "best.ckpt").unlink()
    (found,) = compare(*runs)
    assert found.key == "the file"
    assert [found.before == "missing", found.after == "missing"] == [0 in folders, 1 in folders]


def test_mistaken_classes_are_compared_where_one_run_has_them(runs):
    (runs[1] / "evaluations" / "test" / "confusion.csv").write_text("class,taken_for\na,b\n")
    (found,) = compare(*runs)
    assert (found.before, found.after) == ("missing", "there")


def test_few_differences_of_a_file_are_shown_and_the_largest_of_all(runs):
    lines = "".join(f"{i},{i}.5\n" for i in range(10))
    for folder, values in zip(runs, (lines, lines.replace(".5", ".25")), strict=True):
        path = folder / "evaluations" / "test" / "episodes.csv"
        path.write_text("episode,query_loss_step_0\n" + values)
    said = summarize(compare(*runs))
    assert len(said) == SHOWN + 2
    assert said[-2] == f"evaluations/test/episodes.csv: {10 - SHOWN} more"
    assert "line 2, query_loss_step_0: 0.5 -> 0.25" in said[-1]  # a half; then 1/6, 1/10 ..


def test_a_renamed_key_is_spelled_as_each_tree_knows_it(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from benchmarks.same import spell

    for tree, key in (("old", "eval_steps"), ("new", "eval_inner_steps")):
        (tmp_path / tree / "algorithm").mkdir(parents=True)
        (tmp_path / tree / "train.yaml").write_text("seed: 0\n")
        (tmp_path / tree / "algorithm" / "maml.yaml").write_text(f"{key}: 10\n")
    override = "algorithm.eval_inner_steps|algorithm.eval_steps=3"
    assert spell(override, tmp_path / "old") == "algorithm.eval_steps=3"
    assert spell(override, tmp_path / "new") == "algorithm.eval_inner_steps=3"
    assert spell("algorithm=maml", tmp_path / "new") == "algorithm=maml"


def run(*arguments, **environment):
    return subprocess.run(
        arguments,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_asks_for_the_commit():
    done = run("make", "-n", "same")
    assert done.returncode != 0
    assert "make same BASE=main" in done.stderr
    assert "benchmarks/same.py HEAD~2" in run("make", "-n", "same", "BASE=HEAD~2").stdout


def test_a_commit_that_is_not_there_is_named():
    done = run(sys.executable, "benchmarks/same.py", "no-such-commit", "--only", "maml")
    assert done.returncode == 1
    assert "no-such-commit cannot be checked out" in done.stderr


@pytest.mark.slow
def test_a_run_of_this_tree_is_compared_with_its_last_commit(tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("no git repository: there is no commit to compare with")
    chosen = ("--only", "pretrain", "--keep", str(tmp_path / "kept"))
    done = run(sys.executable, "benchmarks/same.py", "HEAD", *chosen, TMPDIR=str(tmp_path))
    assert "1/1 pretrain" in done.stdout
    assert done.returncode in (0, 1), done.stdout + done.stderr  # changes may be under way
    for side in ("before", "after"):
        (found,) = (tmp_path / "kept" / "pretrain" / side / "outputs").iterdir()
        assert (found / "evaluations" / "test" / "results.json").is_file()
    assert str(tmp_path) not in run("git", "worktree", "list").stdout
