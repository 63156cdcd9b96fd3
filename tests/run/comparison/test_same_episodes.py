"""Differences are paired on the same test episodes, and what tells others apart is named."""

import re

import pytest

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.comparison.episodes import Episodes
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.run.comparison.same_episodes import require_same_episodes

TASK = {"_target_": "metaloop.Omniglot", "shots": 1, "augmentation": {"flip": 0.0}}
EVALUATION = {"split": "test", "episodes": 600, "checkpoint": "best", "norm_modes": []}
COLUMNS = {"episode": ["0", "1"], "classes": ["3 5", "2 8"]}


def evaluated(
    name: str, *, seed: int = 0, norm_mode: str = "transductive", task=None, evaluation=None
):
    config = {
        "seed": seed,
        "norm_mode": norm_mode,
        "task": {**TASK, **(task or {})},
        "evaluation": {**EVALUATION, **(evaluation or {})},
    }
    return EvaluatedRun(RunFolder(name), RunFolder(name), {"seed": seed}, config)


def require_same(one: EvaluatedRun, other: EvaluatedRun, *columns: dict[str, list[str]]) -> None:
    require_same_episodes([one, other], [Episodes(c, {}) for c in columns or (COLUMNS, COLUMNS)])


@pytest.mark.parametrize(
    "other",
    [
        evaluated("b", norm_mode="inductive"),
        evaluated("b", evaluation={"checkpoint": "last", "norm_modes": ["inductive"]}),
        evaluated("b", task={"augmentation": {"flip": 0.5}}),
        evaluated("b", task={"data_dir": "where the data is now"}),
        evaluated("b", evaluation={"interval": "closed"}),
    ],
)
def test_how_learners_are_judged_and_trained_changes_no_test_episode(other):
    require_same(evaluated("a"), other)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (evaluated("b", task={"shots": 5}), "task.shots (1 and 5)"),
        (evaluated("b", evaluation={"split": "train"}), "evaluation.split (test and train)"),
        (evaluated("b", evaluation={"episodes": 20}), "evaluation.episodes (600 and 20)"),
        (evaluated("b", evaluation={"interval": "open"}), "evaluation.interval (closed and open)"),
        (
            evaluated("b", task={"_target_": "my.Own"}),
            "task._target_ (metaloop.Omniglot and my.Own)",
        ),
    ],
)
def test_other_test_episodes_are_refused_by_what_makes_them_others(other, says):
    with pytest.raises(UserError, match=re.escape(says)):
        require_same(evaluated("a"), other)


def test_data_in_two_places_may_be_other_data():
    one, other = (evaluated(name, task={"data_dir": name}) for name in ("a", "b"))
    with pytest.raises(UserError, match=r"differ in task\.data_dir \(a and b\)"):
        require_same(one, other)


def test_episodes_of_one_seed_have_the_same_rows():
    a, b = evaluated("a"), evaluated("b")
    require_same(a, b, COLUMNS, {"episode": ["0", "1"]})  # an older record says less
    others = {**COLUMNS, "classes": ["3 5", "2 9"]}
    with pytest.raises(UserError, match="column classes of episodes.csv .first of episode 1"):
        require_same(a, b, COLUMNS, others)
    with pytest.raises(UserError, match="column episode of episodes.csv .first of episode 1"):
        require_same(a, b, COLUMNS, {"episode": ["0"]})  # cut short
    require_same(a, evaluated("b", seed=1), COLUMNS, others)  # of another seed they are others
