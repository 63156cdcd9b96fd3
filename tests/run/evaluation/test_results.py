"""results.json says what was found, and beside what."""

import csv
import json

import pytest
import torch

from metaloop.run.evaluation.results import add_ours, summarize_results, write_results

VALUES = {
    "query_loss": torch.tensor([[4.0, 1.0], [2.0, 2.0]], dtype=torch.float64),
    "accuracy": torch.tensor([[0.2, 0.8], [0.2, 1.0]], dtype=torch.float64),
}


def test_every_metric_has_mean_and_interval_at_every_step_and_the_gain_is_paired():
    results = summarize_results(VALUES)
    assert results["inner_steps"] == [0, 1]
    assert results["metrics"]["query_loss"]["mean"] == [3.0, 1.5]
    # two values x, y: std = |x - y| / sqrt 2, half-width = t |x - y| / 2, Student's t = 12.706
    assert results["metrics"]["accuracy"]["ci95"] == pytest.approx([0.0, 12.706 * 0.1], rel=1e-4)
    assert results["adaptation_gain"] == {
        "mean": 1.5,
        "ci95": pytest.approx(12.706 * 1.5, rel=1e-4),
    }


def test_one_episode_is_written_without_an_interval(tmp_path):
    results = summarize_results({"query_loss": VALUES["query_loss"][:1]})
    write_results(tmp_path, results, {"query_loss": VALUES["query_loss"][:1]})
    assert json.loads((tmp_path / "results.json").read_text())["adaptation_gain"]["ci95"] is None


def test_a_diverged_loss_is_valid_json(tmp_path):
    values = {"query_loss": torch.tensor([[1.0, torch.nan], [1.0, torch.inf]], dtype=torch.float64)}
    results = summarize_results(values)
    write_results(tmp_path, results, values)
    text = (tmp_path / "results.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["metrics"]["query_loss"]["mean"] == [
        1.0,
        None,
    ]


def test_per_episode_values_are_kept_exactly(tmp_path):
    write_results(tmp_path, summarize_results(VALUES), VALUES)
    rows = list(csv.DictReader((tmp_path / "episodes.csv").read_text().splitlines()))
    assert [float(row["query_loss_step_1"]) for row in rows] == [1.0, 2.0]
    assert [float(row["accuracy_step_0"]) for row in rows] == [0.2, 0.2]


def test_published_values_stand_beside_ours_only_where_the_protocol_is_theirs():
    published = [
        {
            "metric": "accuracy",
            "inner_step": 1,
            "mean": 0.9,
            "source": "a",
            "where": {"task.shots": 1},
        },
        {
            "metric": "accuracy",
            "inner_step": 1,
            "mean": 0.9,
            "source": "b",
            "where": {"task.shots": 5},
        },
        {"metric": "accuracy", "inner_step": 9, "mean": 0.9, "source": "c", "where": {}},
        {"metric": "recall", "inner_step": 1, "mean": 0.9, "source": "d", "where": {}},
    ]
    beside = add_ours(published, summarize_results(VALUES), {"task": {"shots": 1}})
    assert [row["source"] for row in beside] == ["a"]
    assert beside[0]["ours"]["mean"] == pytest.approx(0.9)


def test_what_all_published_values_have_in_common_is_said_once():
    value = {"metric": "accuracy", "inner_step": 1, "mean": 0.9, "source": "a"}
    for shots, found in ((1, ["a"]), (5, [])):
        config = {"task": {"shots": shots}, "published_where": {"task.shots": 1}}
        beside = add_ours([value], summarize_results(VALUES), config)
        assert [row["source"] for row in beside] == found
