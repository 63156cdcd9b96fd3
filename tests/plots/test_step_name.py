"""What pictures call an inner step."""

from metaloop.plots.step_name import step_name


def test_steps_are_counted_in_words():
    assert [step_name(k) for k in (0, 1, 2)] == [
        "before adaptation",
        "after 1 step",
        "after 2 steps",
    ]
