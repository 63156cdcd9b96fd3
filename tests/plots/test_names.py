"""What pictures call an inner step and a metric."""

from metaloop.plots.names import last_step_name, metric_name, step_name


def test_steps_are_counted_in_words():
    assert [step_name(k) for k in (0, 1, 2)] == [
        "before adaptation",
        "after 1 step",
        "after 2 steps",
    ]


def test_the_last_inner_step_of_several_learners_is_named_once_if_it_is_one():
    assert last_step_name([5, 5]) == "after inner step 5"
    assert last_step_name({10, 3}) == "after the last inner step (3, 10)"


def test_a_metrics_name_has_no_underscores():
    assert metric_name("support_mean_error") == "support mean error"
    assert metric_name("support_nll") == "support negative log-likelihood"
