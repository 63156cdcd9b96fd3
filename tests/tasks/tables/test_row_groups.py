"""Rows of uneven groups: drawn from their own group, never twice, as the seed says."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.tasks import RandomStreams
from metaloop.tasks.tables.row_groups import RowGroups

# row r belongs to group MEMBERS[r]; the groups lie mixed, of 4, 6, 3 and 5 rows
MEMBERS = torch.tensor([0, 1, 2, 3, 1, 1, 3, 0, 0, 1, 2, 1, 3, 3, 0, 1, 2, 3])
NAMES = ["a", "b", "c", "d"]
SPLITS = {"train": [0, 1], "validation": [2], "test": [3]}


def groups(splits=SPLITS) -> RowGroups:
    return RowGroups(MEMBERS, NAMES, splits)


def test_rows_are_of_the_chosen_groups_and_each_is_drawn_once():
    rows, chosen = groups().draw(
        "train", RandomStreams(0, "train", torch.arange(200)), groups=2, rows=4
    )
    assert rows.shape == (200, 2, 4)
    assert torch.equal(MEMBERS[rows], chosen[..., None].expand(200, 2, 4))
    assert (rows.sort(-1).values.diff(dim=-1) > 0).all()
    assert (chosen.sort(-1).values == torch.tensor([0, 1])).all()
    assert set(rows[MEMBERS[rows] == 1].tolist()) == {1, 4, 5, 9, 11, 15}  # every row has its turn


def test_splits_keep_to_their_groups():
    for split, mine in (("validation", 2), ("test", 3)):
        rows, chosen = groups().draw(
            split, RandomStreams(0, split, torch.arange(20)), groups=1, rows=3
        )
        assert (chosen == mine).all()
        assert (MEMBERS[rows] == mine).all()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"groups": 2, "rows": 3}, "data.csv: an episode needs 2 classes, but the validation .* 1"),
        (
            {"groups": 1, "rows": 4},
            "4 rows .* validation split's 1 classes 1 .* 'c' has only 3. Do",
        ),
    ],
)
def test_episodes_that_a_split_cannot_make_are_refused(asked, says):
    with pytest.raises(UserError, match=says):
        groups().require(
            tuple(SPLITS), **asked, source="data.csv", kind="classes", remedy="Do this."
        )
