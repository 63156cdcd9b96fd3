"""Folders of evaluations and adaptations are named by what makes them different."""

import pytest

from metaloop.cli.folder_names import LONGEST, check_name, make_name
from metaloop.errors import UserError


@pytest.mark.parametrize("name", ["../x", ".hidden", "a b", "a/b", "x:y"])
def test_a_name_that_is_no_plain_folder_is_refused(name):
    with pytest.raises(UserError, match="letters, digits and _ . = , - only"):
        check_name(name)


def test_a_plain_name_is_taken_as_it_is():
    assert check_name("task.shots=1,5_new-2") == "task.shots=1,5_new-2"


def test_what_a_folder_cannot_be_called_becomes_a_dash():
    assert make_name(["test", "task.data_dir=/a b/c"]) == "test_task.data_dir=-a-b-c"
    assert make_name(["..", "/"]) == "_-"
    assert make_name([]) == "unnamed"


def test_long_names_are_cut_and_still_differ_in_their_parts_and_order():
    long = "task.data_dir=/" + "x" * 200
    parts = (["task.shots=1", long], ["task.shots=5", long], [long, "task.shots=1"])
    names = {make_name(["test", *each]) for each in parts}
    assert len(names) == 3
    assert {len(name) for name in names} == {LONGEST + 9}
