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


def test_means_difference_and_effect_are_in_the_table_each_in_its_cell(capsys):
    text = said(FOUND, capsys)
    assert "accuracy after inner step 5, paired over episodes" in text
    row, other = (line for line in text.split("\u2502 ") if line.startswith(("A ", "B ")))
    assert (row.strip(), other.strip()) == ("A maml", "B anil")
    values = [cell.strip() for cell in text.split("\u2502")]
    for value in ("0.5000", "0.1000 +/- 0.0200", "0.80", "600", "0.002", "0.4000"):
        assert value in values
    assert "higher is better" in text
    assert "closed interval" in text


def test_what_came_out_is_said_in_words(capsys):
    measured = "0.1000 +/- 0.0200 in accuracy (95 % interval over 600 episodes, p 0.002)"
    assert said(FOUND, capsys).endswith(f"maml is better than anil, by {measured}.")
    lower = said(FOUND._replace(mode="min"), capsys)
    assert lower.endswith(f"anil is better than maml, by {measured}.")
    unknown = said(FOUND._replace(mode=None), capsys)
    assert unknown.endswith(f"maml has the larger value than anil, by {measured}.")


def test_what_is_not_known_is_not_claimed(capsys):
    undecided = ROW._replace(
        p=0.3, better=None, difference=ROW.difference._replace(effect_size=None)
    )
    text = said(FOUND._replace(mode=None, rows=[undecided]), capsys)
    assert "Nothing can be said about maml and anil: they differ by 0.1000 +/- 0.0200" in text
    assert "p 0.3" in text
    assert "none" in text
    assert "the metric does not define which is better" in text


def test_many_undecided_pairs_are_counted(capsys):
    undecided = ROW._replace(p=0.3, better=None)
    text = said(FOUND._replace(rows=[*[undecided] * 4, ROW]), capsys)
    assert text.count("Nothing can be said") == 1
    assert "about 4 of 5 pairs of learners over episodes: their p is 0.05 or more" in text
    assert "maml is better than anil" in text


def test_runs_without_a_partner_are_named(capsys, tmp_path):
    assert f"no run with its seed: {tmp_path}" in said(FOUND._replace(left_out=[tmp_path]), capsys)


def test_the_picture_names_the_pair_and_the_direction():
    (axes,) = draw_comparison(FOUND).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "maml - anil\nover 600 episodes"
    ]
    assert axes.get_xlabel() == "difference in accuracy (higher is better)"
