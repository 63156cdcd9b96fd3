"""Published values, and the conditions under which ours may stand next to them."""

import pytest

from metaloop.errors import UserError
from metaloop.run.config.published import Published, unmet_conditions
from metaloop.run.config.run_config import RunConfig
from tests.conftest import composed

VALUE: Published = {"metric": "accuracy", "inner_step": 1, "mean": 0.9, "source": "a paper"}
CONFIG = {"seed": 0, "task": {"shots": 1, "ways": 5}}


def test_a_value_without_conditions_holds_for_every_config():
    assert unmet_conditions(VALUE, CONFIG) == {}


def test_unmet_conditions_are_those_of_the_value_and_the_common_ones():
    value: Published = {**VALUE, "where": {"task.shots": 5, "task.ways": 5}}
    config = {**CONFIG, "published_where": {"seed": 1, "task.absent": 2}}
    assert unmet_conditions(value, config) == {"task.shots": 5, "seed": 1, "task.absent": 2}


def test_a_condition_of_the_value_replaces_a_common_one():
    value: Published = {**VALUE, "where": {"task.shots": 1}}
    assert unmet_conditions(value, {**CONFIG, "published_where": {"task.shots": 5}}) == {}


@pytest.mark.parametrize("key", ["metric", "inner_step", "mean", "source"])
def test_a_published_value_without_a_needed_key_is_refused(key):
    value = {name: inner for name, inner in VALUE.items() if name != key}
    with pytest.raises(UserError, match=f"published=.*{key} is missing"):
        RunConfig.of({**composed(), "published": [value]})
