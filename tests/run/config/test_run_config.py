"""A config becomes typed once, and what is wrong with it is named by its key."""

import pytest

from metaloop.errors import UserError
from metaloop.run.config.run_config import RunConfig
from metaloop.run.config.settings import Adaptation, Training
from tests.conftest import composed


def changed(path: str, value: object) -> dict[str, object]:
    content = composed()
    *parents, last = path.split(".")
    place = content
    for parent in parents:
        place = place[parent]
    place[last] = value
    return content


def test_sections_of_values_are_typed_and_nodes_stay_as_they_are():
    config = RunConfig.of(composed("training.max_steps=7"))
    assert isinstance(config.training, Training)
    assert config.training.max_steps == 7
    assert config.model["_target_"] == "metaloop.MLP"
    assert config.adapt is None


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("sead", 1, "sead is unknown. Did you mean seed"),
        ("seed", -1, "seed=-1"),
        ("training.max_steps", "many", "training.max_steps=.*many"),
        ("norm_mode", "none", "norm_mode=.*none"),
        ("training", None, "training is missing: a config has this section"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(path, value, says):
    with pytest.raises(UserError, match=says):
        RunConfig.of(changed(path, value))


def test_a_change_reaches_into_a_section_and_leaves_the_rest():
    config = RunConfig.of(composed())
    other = config.changed(seed=5, training={"max_steps": 7})
    assert (other.seed, other.training.max_steps) == (5, 7)
    assert other.training.log_every == config.training.log_every
    assert other.content["training"]["max_steps"] == 7
    assert config.seed == 0


def test_only_an_adaptation_has_examples_to_adapt_to():
    adapt = {
        "support": "a",
        "query": None,
        "steps": None,
        "head": None,
        "checkpoint": "best",
        "skip_unusable": False,
        "export": [],
    }
    assert isinstance(RunConfig.of({**composed(), "adapt": adapt}).adapt, Adaptation)
