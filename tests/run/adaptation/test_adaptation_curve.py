"""An adaptation is judged by the best there is: labels, examples left out, or itself."""

import pytest

from metaloop.run.adaptation.adaptation_curve import (
    describe_judge,
    judge,
    print_adaptation,
    summarize_curve,
)
from tests.run.adaptation.learners import given, nearest_mean

X, Y = [0.0, 2.0, 5.0, 7.0], ["low", "low", "high", "high"]


def test_labels_of_the_query_judge_before_all_else():
    judged = judge(nearest_mean(X, Y), given([1.0, 3.0, 6.0], ["low", "high", "high"]))
    assert judged.by == "query"
    assert judged.report["accuracy"][:, -1].tolist() == [1.0, 0.0, 1.0]  # 3 is nearer to 1 than 6
    assert describe_judge(judged) == "3 query examples, 95 % interval over examples"


def test_without_labels_each_support_example_is_left_out_in_turn(capsys):
    judged = judge(nearest_mean(X, Y), given([1.0]))
    said = capsys.readouterr().out  # before the adaptations, which may take long
    assert said == ("Judging by leaving out each support example in turn: 4 more adaptations ..\n")
    assert judged.by == "leave_one_out"
    assert judged.report["accuracy"][:, -1].tolist() == [1.0] * 4
    assert "leaving out each of 4 support examples in turn" in describe_judge(judged)


def test_one_example_a_class_is_judged_by_itself():
    judged = judge(nearest_mean([0.0, 4.0], ["low", "high"]), None)
    assert judged.by == "support"
    assert set(judged.report) == {"support_loss", "support_accuracy"}
    assert describe_judge(judged).startswith("the 2 support examples themselves")


def test_the_summary_has_mean_interval_and_number_of_examples_at_each_step():
    judged = judge(nearest_mean(X, Y), given([1.0, 3.0], ["low", "high"]))
    summary = summarize_curve(judged)
    assert (summary["judged_by"], summary["inner_steps"]) == ("query", [0, 1])
    accuracy = summary["metrics"]["accuracy"]
    assert accuracy["mean"][-1] == 0.5
    assert accuracy["ci95"][-1] == pytest.approx(12.706 * 0.5, rel=1e-4)  # Student's, of 0 and 1
    assert accuracy["examples"] == 2


def test_what_was_made_and_skipped_is_printed(tmp_path, capsys):
    judged = judge(nearest_mean(X, Y), given([1.0], ["low"]))
    (tmp_path / "adapted.onnx").touch()
    print_adaptation(judged, ["a.txt is no image"], tmp_path)
    said = capsys.readouterr().out
    assert "Skipped: a.txt is no image" in said
    assert "accuracy: " in said
    assert "-> 1.0000" in said
    assert f"{tmp_path / 'adapted.onnx'}" in said
    assert "adapted.pt2" not in said
