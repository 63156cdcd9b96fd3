"""What each key of a config changes is said once, for identities, resuming and evaluating."""

import functools
from dataclasses import fields

import pytest

from metaloop.run.config.keys import EFFECTS, effect_of, key_of
from metaloop.run.config.settings import Device
from tests.conftest import composed

OF_COMMAND = {"output_dir"}  # what only a command's arguments and those of its jobs may name


@pytest.mark.parametrize("key", sorted(EFFECTS.keys() - OF_COMMAND))
def test_what_is_listed_is_a_key_of_a_config(key):
    *sections, last = key.split(".")
    known = functools.reduce(dict.__getitem__, sections, composed())
    assert last in known or key in {f"device.{field.name}" for field in fields(Device)}


@pytest.mark.parametrize(
    ("key", "changes", "commands"),
    [
        ("task.shots", "numbers", {"train", "evaluate", "adapt"}),
        ("training.max_steps", "numbers", {"train"}),
        ("data.meta_batch_size", "numbers", {"train"}),
        ("data.workers", "nothing", {"train", "evaluate"}),
        ("logger.wandb.project", "nothing", {"train"}),
        ("device.threads", "nothing", {"train", "evaluate", "adapt"}),
        ("device.precision", "precision", {"train", "evaluate", "adapt"}),
        ("device.compile", "last_bits", {"train", "evaluate", "adapt"}),
    ],
)
def test_a_key_is_of_the_longest_part_that_is_listed(key, changes, commands):
    assert effect_of(key).changes == changes
    assert set(effect_of(key).commands) == commands


def test_an_override_is_of_its_key_whatever_it_does_to_it():
    overrides = ("task.shots=2", "+task.shots=2", "++task.shots=2", "~task.shots")
    assert {key_of(override) for override in overrides} == {"task.shots"}
