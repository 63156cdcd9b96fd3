"""predictions.csv has a row for each example, in the order of the examples."""

import csv

import pytest

from metaloop.run.adaptation.predictions import write_predictions
from tests.run.adaptation.learners import given, nearest_mean


def rows(tmp_path, labels) -> list[dict[str, str]]:
    adapted = nearest_mean([0.0, 4.0], ["low", "high"])
    write_predictions(tmp_path / "predictions.csv", adapted, given([1.0, 2.0, 5.0], labels))
    return list(csv.DictReader((tmp_path / "predictions.csv").read_text().splitlines()))


def test_each_example_has_its_class_and_a_probability_of_each(tmp_path):
    found = rows(tmp_path, None)
    assert list(found[0]) == ["row", "predicted", "p(high)", "p(low)"]
    assert [row["row"] for row in found] == ["row 0", "row 1", "row 2"]
    assert (found[0]["predicted"], found[2]["predicted"]) == ("low", "high")
    assert float(found[1]["p(low)"]) == pytest.approx(0.5)  # as near to 0 as to 4
    assert all(float(r["p(low)"]) + float(r["p(high)"]) == pytest.approx(1) for r in found)


def test_labels_stand_next_to_the_predictions_where_they_are_known(tmp_path):
    assert [row["label"] for row in rows(tmp_path, ["low", "low", "high"])] == [
        "low",
        "low",
        "high",
    ]
