"""A comparison is shown as a table and a picture that name both learners and the verdict."""

from metaloop.run.comparison.compare import Comparison, Row
from metaloop.run.comparison.paired import PairedDifference
from metaloop.run.comparison.shown import draw_comparison, print_comparison

ROW = Row(
    "maml", "anil", "episodes", (0.5, 0.4), PairedDifference(0.1, 0.02, 0.8, 0.001, 600), 0.002, "A"
)
FOUND = Comparison("maml and anil on Omniglot", "accuracy", "max", [5], "closed", [ROW], [])


def said(found, capsys) -> str:
    print_comparison(found)
    return " ".join(capsys.readouterr().out.split())


def test_means_difference_effect_and_verdict_are_in_the_table(capsys):
    text = said(FOUND, capsys)
    for part in (
        "accuracy after inner step 5, paired over episodes",
        "A maml",
        "B anil",
        "0.1000 +/- 0.0200",
        "d 0.80, 600 episodes",
        "0.002",
        "A is better",
    ):
        assert part in text
    assert "higher is better" in text
    assert "closed interval" in text


def test_what_is_not_known_is_not_claimed(capsys):
    undecided = ROW._replace(better=None, difference=ROW.difference._replace(effect_size=None))
    text = said(FOUND._replace(mode=None, rows=[undecided]), capsys)
    assert "undecided" in text
    assert "d none" in text
    assert "the metric does not define which is better" in text


def test_runs_without_a_partner_are_named(capsys, tmp_path):
    assert f"no run with its seed: {tmp_path}" in said(FOUND._replace(left_out=[tmp_path]), capsys)


def test_the_picture_names_the_pair_and_the_direction():
    (axes,) = draw_comparison(FOUND).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "maml - anil\nover 600 episodes"
    ]
    assert axes.get_xlabel() == "difference in accuracy (higher is better)"
