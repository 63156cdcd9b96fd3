"""A run is described in words by what its config and its environment say."""

import json

import pytest

from metaloop.run.report.protocol import (
    agree,
    describe_versions,
    environment_of,
    explain_interval,
    protocol_of,
)
from tests.conftest import composed


def test_the_protocol_says_how_it_is_trained_and_judged():
    config = composed("training.max_steps=70", "data.meta_batch_size=4", "task.shots=5", "seed=3")
    found = protocol_of(config)
    assert found["training"] == "70 meta-steps of 4 tasks"
    assert found["task"].startswith("Sinusoid (shots=5, ")
    assert (found["seed"], found["initial weights"]) == (3, "random")
    assert found["interval"].startswith("95 %, closed: over episodes that may share examples")


def test_an_interval_of_another_kind_is_named_without_words():
    assert explain_interval("strange") == "95 %, strange"


def test_versions_that_are_not_known_are_not_made_up():
    assert describe_versions({"torch": "2.13", "numpy": "2"}) == "torch 2.13, numpy 2"
    assert describe_versions(None) == describe_versions({}) == "unknown"


def test_the_environment_is_that_of_the_training(make_run):
    run = make_run()
    assert environment_of(run) == {}
    run.environment.write_text(json.dumps({"cpu": "a cpu", "cpu_cores": 2, "threads": 1}))
    found = environment_of(run)
    assert "a cpu (2 cores, 1 threads)" in found.values()
    assert "unknown: not started in a git repository" in found.values()
    assert found["accelerators"] == "none"


@pytest.mark.parametrize(
    ("runs", "merged"),
    [
        ([{"seed": 1}, {"seed": 1}], {"seed": 1}),
        ([{"seed": 1}, {"seed": 2}], {"seed": "differs from job to job"}),
        ([{"seed": 1}, {}], {"seed": "differs from job to job"}),
        ([], {}),
    ],
)
def test_jobs_agree_or_differ(runs, merged):
    assert agree(runs) == merged
