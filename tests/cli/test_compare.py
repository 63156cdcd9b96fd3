"""metaloop-compare: two learners on the same test episodes, told apart by their differences."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from metaloop.folders.run_folder import RunFolder
from metaloop.run.config.read import load_config
from metaloop.run.config.write import rewrite_run, write_evaluation, write_run
from metaloop.run.evaluation.results import write_results
from metaloop.run.worker import work
from tests.conftest import SMALL, composed

LEARNED = ("training.max_steps=0", "evaluation.episodes=3", "algorithm.eval_inner_steps=1")
LOSSES = {  # of three episodes before and after one inner step, by inner step size and seed
    ("0.01", 0): [[9.0, 2.0], [9.0, 4.0], [9.0, 3.0]],
    ("0.01", 1): [[9.0, 1.0], [9.0, 2.0], [9.0, 6.0]],
    ("0.1", 0): [[9.0, 3.0], [9.0, 6.0], [9.0, 6.0]],
    ("0.1", 1): [[9.0, 3.0], [9.0, 3.0], [9.0, 9.0]],
    ("1.0", 0): [[9.0, 2.5], [9.0, 4.0], [9.0, 3.5]],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> RunFolder:
    """A run that metaloop-train has made and evaluated."""
    torch.set_num_threads(1)
    arguments = [*SMALL, *LEARNED]
    run = write_run(composed(*arguments), arguments, tmp_path_factory.mktemp("trained"), "run")
    assert work([str(run.path)]) == 0
    return run


@pytest.fixture(scope="module")
def sweep(trained, tmp_path_factory) -> Path:
    """Two learners of two seeds and one of one, with the losses above."""
    place = tmp_path_factory.mktemp("sweep")
    for (size, seed), losses in LOSSES.items():
        run = RunFolder(place / f"{size}_{seed}")
        shutil.copytree(trained.path, run.path)
        changes = [f"algorithm.inner_lr={size}", f"seed={seed}"]
        config = {**load_config(run), "seed": seed}
        config["algorithm"] = {**config["algorithm"], "inner_lr": float(size)}
        rewrite_run(run, config, changes, [])
        run.write_status("completed")
        judged = write_evaluation(run, "test", config, changes)
        judged.let_go()
        write_results(judged.path, {}, {"query_loss": torch.tensor(losses).double()})
    return place


def written(place: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((place / "comparison.csv").read_text().splitlines()))


def test_a_sweep_is_compared_over_seeds_and_over_episodes(sweep, said):
    told = said("compare", str(sweep)).out
    over_seeds, over_episodes, *_ = written(sweep)
    for row in (over_seeds, over_episodes):
        assert (row["a"], row["b"]) == ("inner_lr=0.01", "inner_lr=0.1")
        assert (row["metric"], row["inner_step"]) == ("query_loss", "1")
        assert (float(row["a_mean"]), float(row["b_mean"])) == (3.0, 5.0)
        assert float(row["difference"]) == -2.0
    # differences -1, -2, -3 of seed 0 and -2, -1, -3 of seed 1: each seed's mean is -2
    assert (over_seeds["pairs"], over_seeds["ci95"], over_seeds["cohens_d"]) == ("2", "0.0", "")
    # squared deviations sum to 4, of 5 degrees of freedom; t(0.975; 5) = 2.570582
    assert over_episodes["pairs"] == "6"
    assert float(over_episodes["ci95"]) == pytest.approx(2.570582 * (0.8 / 6) ** 0.5, rel=1e-6)
    assert float(over_episodes["cohens_d"]) == pytest.approx(-2 / 0.8**0.5)
    assert over_episodes["better"] == "A"  # of a loss
    assert "For query loss, lower is better" in told
    assert "-2.0000 +/- 0.9386" in told
    assert (sweep / "comparison.png").stat().st_size > 5000


def test_p_is_corrected_for_all_pairs_over_the_same(sweep, said):
    said("compare", str(sweep))
    over_seeds, *over_episodes = written(sweep)
    assert over_seeds["p_holm"] == over_seeds["p"]  # the one pair with two seeds in common
    smallest = min(over_episodes, key=lambda row: float(row["p"]))
    assert [row["pairs"] for row in over_episodes] == ["6", "3", "3"]
    assert float(smallest["p_holm"]) == pytest.approx(3 * float(smallest["p"]))


def test_learners_that_are_the_same_before_they_adapt_do_not_differ_there(sweep, said):
    one, other = str(sweep / "0.01_0"), str(sweep / "0.1_0")
    said("compare", other, "--baseline", one, "--inner-step", "0", "--out", str(sweep))
    (row,) = written(sweep)
    assert (row["a"], row["b"]) == ("inner_lr=0.1", "inner_lr=0.01")  # the baseline is taken off
    assert (float(row["difference"]), float(row["p"]), row["better"]) == (0.0, 1.0, "")


def test_other_test_episodes_are_refused_or_made_the_same(trained, tmp_path, said):
    config = load_config(trained)
    config["task"] = {**config["task"], "shots": 3}
    config["evaluation"] = {**config["evaluation"], "checkpoint": "last"}
    fewer = write_evaluation(trained, "last", config, ["evaluation.checkpoint=last"])
    fewer.let_go()
    write_results(fewer.path, {}, {"query_loss": torch.zeros(3, 2)})
    named = ("compare", str(trained.path), str(fewer.path), "--out", str(tmp_path))
    refused = said(*named, status=1).err
    assert "differ in task.shots (10 and 3)" in refused
    assert len(refused.splitlines()) <= 5
    assert f"{trained.evaluations}/last_task.shots=10" in said(*named, "--evaluate").out
    (row,) = written(tmp_path)
    # of a run without a step the last learner is the best one, and on the same episodes it shows
    assert row["b"] == "checkpoint=last"
    assert (float(row["difference"]), row["pairs"]) == (0.0, "3")
    assert float(row["b_mean"]) > 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["0.01_0", "nowhere"], "There is no folder"),
        (["0.01_0", "0.01_1"], "differ only in their seed"),
        (["0.01_0", "0.1_1"], "share no test episodes, which depend on the seed"),
        (["0.01_0", "0.1_0", "--metric", "auc"], "Not all runs have auc. All have: query_loss"),
        (["0.01_0", "0.1_0", "--inner-step", "3"], "after inner steps 0 to 1"),
        (["0.01_0", "0.1_0", "--evaluation", "mine"], "has no results of an evaluation mine"),
    ],
)
def test_mistakes_are_named(sweep, monkeypatch, said, arguments, says):
    monkeypatch.chdir(sweep)
    told = said("compare", *arguments, status=1).err
    assert says in told
    assert len(told.splitlines()) <= 5
    assert not (sweep / "outputs").exists()


def test_what_has_not_completed_is_left_out_of_a_sweep_and_said(sweep, said):
    # the last test of the module: it changes the sweep
    RunFolder(sweep / "0.01_1").write_status("diverged", reason="at meta-step 3")
    told = said("compare", str(sweep)).out
    assert f"Left out: {sweep / '0.01_1'} (diverged)" in told
    assert f"no run with its seed: {sweep / '0.1_1'}" in told
    assert {(row["over"], row["pairs"]) for row in written(sweep)} == {("episodes", "3")}
