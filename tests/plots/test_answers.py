"""Pictures of an evaluation's answers: which class was taken for which, and how sure it was."""

import numpy as np
import torch

from metaloop.episode import Episode, Examples
from metaloop.plots import draw_confusion, draw_reliability
from metaloop.training.calibration import measure_reliability
from metaloop.training.confusion import count_confusion, rows_of
from metaloop.training.episode_values import NONE, Answered, EpisodeValues


def answered(answers):
    """Two episodes of three classes out of four, each class asked once: classes 5, 6, 7 and 9."""
    classes = torch.tensor([[5, 7, 9], [9, 5, 6]])
    targets = torch.tensor([[0, 1, 2]] * 2)
    return Answered(classes, targets, torch.tensor(answers), torch.ones(2, 3))


def test_the_confusion_matrix_shows_counts_in_rows_of_100_percent():
    # 5 taken for 7 in the one episode that had both; 9 for 5 in one of two
    confusion = count_confusion(answered([[1, 1, 2], [1, 1, 2]]))
    assert confusion.classes.tolist() == [5, 6, 7, 9]
    assert confusion.seen.tolist() == [2, 1, 1, 2]
    assert confusion.right.tolist() == [1, 1, 1, 1]
    assert rows_of(confusion) == [(5, 7, 1, 1), (9, 5, 1, 2)]
    figure = draw_confusion(confusion, "no {}".format, "test")
    matrix = figure.axes[0]
    share = np.asarray(matrix.images[0].get_array())
    expected = [
        [0.5, 0.0, 0.5, 0.0],
        [0.0, 1.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.0],
        [0.5, 0.0, 0.0, 0.5],
    ]
    np.testing.assert_allclose(share, expected)
    cells = np.array([text.get_text() for text in matrix.texts]).reshape(4, 4)
    never = "\N{EN DASH}"  # 6 and 7 never met
    assert cells.tolist() == [
        ["1\n50%", "0", "1\n50%", "0"],
        ["0", "1\n100%", never, "0"],
        ["0", never, "1\n100%", "0"],
        ["1\n50%", "0", "0", "1\n50%"],
    ]
    assert "4 of 6 query examples answered correctly: 66.7%" in figure.get_suptitle()
    rows = [text.get_text() for text in matrix.get_yticklabels()]
    assert rows == ["no 5 (2)", "no 6 (1)", "no 7 (1)", "no 9 (2)"]
    assert "A row is one true class" in figure.get_supxlabel()


def test_the_confusion_matrix_accepts_episodes_of_fewer_classes():
    values = EpisodeValues()
    for index, classes, answers in ((1, [9, 5], [1, 1]), (0, [5, 7, 9], [1, 1, 2])):
        targets = torch.arange(len(classes))[None]
        examples = Examples(targets, targets)
        episode = Episode(examples, examples, torch.tensor([classes]))
        report = {
            "query_loss": torch.zeros(1, 1),
            "answers": torch.tensor([answers]),
            "confidences": torch.ones(1, len(answers)),
        }
        values.update(torch.tensor([index]), report, episode, most_ways=3)
    values.compute()
    confusion = count_confusion(values.answered)
    assert confusion.classes.tolist() == [5, 7, 9]
    assert confusion.seen.tolist() == [2, 1, 2]
    assert confusion.right.tolist() == [1, 1, 1]
    assert rows_of(confusion) == [(5, 7, 1, 1), (9, 5, 1, 2)]


def test_the_worst_of_many_classes_are_shown():
    classes = torch.arange(40).view(20, 2)
    answers = torch.tensor([[0, 1]] * 18 + [[1, 1]] + [[0, 0]])
    many = Answered(classes, torch.tensor([[0, 1]] * 20), answers, torch.ones(20, 2))
    left, right = draw_confusion(count_confusion(many), str, "test").axes
    assert {t.get_text() for t in left.get_yticklabels()} == {
        "36\ntaken for 37",
        "39\ntaken for 38",
    }
    assert [t.get_text() for t in right.get_yticklabels()][:2] == ["36", "39"]
    # 36 was asked once and wrong once, so it was in every other class's way once
    assert [t.get_text() for t in left.texts] == ["1 of 1", "1 of 1"]
    assert [t.get_text() for t in right.texts][:3] == ["1 of 1", "1 of 1", "0 of 1"]


def test_reliability_shows_the_share_that_is_right_of_each_confidence():
    # of two answers that are 90 % sure one is right, of two that are 50 % sure both are
    said = answered([[0, 1, 0], [1, 0, 2]])._replace(
        targets=torch.tensor([[0, 0, NONE], [1, 0, NONE]]),
        confidences=torch.tensor([[0.9, 0.9, NONE], [0.5, 0.5, NONE]]),
    )
    figure = draw_reliability(measure_reliability(said), "test")
    above, below = figure.axes
    (points,) = [line for line in above.lines if line.get_marker() == "o"]
    shown = np.array([point for point in points.get_xydata() if not np.isnan(point).any()])
    np.testing.assert_allclose(shown, [[0.5, 1.0], [0.9, 0.5]], rtol=1e-6)
    assert [bar.get_height() for bar in below.patches if bar.get_height()] == [2, 2]
    # half of the answers are 40 % off, the other half 50 %
    assert "expected calibration error 45.0%" in figure.get_suptitle()
