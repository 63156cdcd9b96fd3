"""Every learner is compared with every other, or with the first, on the same episodes."""

import csv

import pytest
import torch

from metaloop.errors import UserError
from metaloop.folders.atomic_write import write_json
from metaloop.folders.run_folder import RunFolder
from metaloop.run.comparison.compare import compare, write_csv
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.run.evaluation.results import write_results

EVALUATION = {"split": "test", "episodes": 3, "checkpoint": "best", "norm_modes": []}
CONFIG = {
    "norm_mode": "frozen",
    "task": {"_target_": "metaloop.Sinusoid"},
    "evaluation": EVALUATION,
}


def evaluated(root, name: str, losses: list[float], seed: int = 0) -> EvaluatedRun:
    folder = RunFolder.create(root, f"{name}{seed}")
    folder.overrides.write_text(f"- algorithm={name}\n- seed={seed}\n")
    write_json(folder.best_modes, {"query_loss": "min"})
    values = torch.tensor([[9.0, loss] for loss in losses], dtype=torch.float64)
    write_results(folder.path, {}, {"query_loss": values})
    trained = {**CONFIG, "seed": seed, "algorithm": {"_target_": f"metaloop.{name}"}}
    return EvaluatedRun(folder, folder, trained, {**trained, "seed": 0})


def test_the_difference_is_paired_and_the_better_one_named(tmp_path):
    one, other = evaluated(tmp_path, "a", [1.0, 2.0, 3.0]), evaluated(tmp_path, "b", [3, 4, 5.0])
    found = compare([one, other])
    assert (found.metric, found.mode, list(found.inner_steps)) == ("query_loss", "min", [1])
    (row,) = found.rows
    assert row.means == (2.0, 4.0)
    assert (row.difference.mean, row.difference.half_width) == (-2.0, 0.0)
    assert (row.over, row.better) == ("episodes", "A")
    (before,) = compare([one, other], inner_step=0).rows
    assert (before.difference.mean, before.better) == (0.0, None)


def test_all_pairs_are_compared_or_those_with_the_first(tmp_path):
    runs = [evaluated(tmp_path, name, [i, i + 1.0, i]) for i, name in enumerate("abc")]
    assert len(compare(runs).rows) == 3
    assert len(compare(runs, against_first=True).rows) == 2


def test_what_cannot_be_compared_is_refused(tmp_path):
    one, other = evaluated(tmp_path, "a", [1.0, 2.0, 3.0]), evaluated(tmp_path, "b", [3, 4, 5.0])
    with pytest.raises(UserError, match="Not all runs have accuracy. All have: query_loss"):
        compare([one, other], "accuracy")
    with pytest.raises(UserError, match="All these runs are one learner"):
        compare([one, evaluated(tmp_path, "a", [1.0, 1.0, 1.0], seed=1)])


def test_the_table_has_a_row_a_comparison(tmp_path):
    one, other = evaluated(tmp_path, "a", [1.0, 2.0, 3.0]), evaluated(tmp_path, "b", [3, 4, 6.0])
    write_csv(compare([one, other]), tmp_path / "comparison.csv")
    (row,) = csv.DictReader((tmp_path / "comparison.csv").read_text().splitlines())
    assert (row["metric"], row["over"], row["pairs"]) == ("query_loss", "episodes", "3")
    assert float(row["difference"]) == pytest.approx(-7 / 3)
