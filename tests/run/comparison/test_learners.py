"""Runs that differ in nothing but their seed are one learner."""

import numpy as np
import pytest
from omegaconf import OmegaConf

from metaloop.errors import UserError
from metaloop.folders.run_folder import RunFolder
from metaloop.run.comparison.evaluated_run import EvaluatedRun
from metaloop.run.comparison.learners import Member, group_by_learner
from metaloop.run.config.read import FORMAT, SECTIONS

CONFIG = {
    "seed": 0,
    "algorithm": {"inner_lr": 0.1},
    "task": {"shots": 5, "data_dir": "images"},
    "evaluation": {"episodes": 600, "checkpoint": "best"},
    "device": {"accelerator": "cpu", "precision": "32-true"},
    "logger": {},
}


def changed(**sections: object) -> dict[str, object]:
    return {
        key: {**old, **sections[key]} if isinstance(old, dict) and key in sections else old
        for key, old in {**CONFIG, **{k: v for k, v in sections.items() if k == "seed"}}.items()
    }


def member(
    name: str, trained: dict[str, object], judged: dict[str, object] | None = None
) -> Member:
    run = RunFolder(f"outputs/{name}")
    config = {**(judged or trained), "command": "evaluate", "run": f"../{name}"}
    return Member(
        EvaluatedRun(run, RunFolder(run.evaluations / "test"), trained, config), np.zeros(2)
    )


def sizes(*members: Member) -> list[int]:
    return [len(learner.members) for learner in group_by_learner(members)]


@pytest.mark.parametrize(
    "change",
    [{"device": {"accelerator": "gpu"}}, {"logger": {"csv": {}}}, {"evaluation": {"episodes": 20}}],
)
def test_another_seed_device_logger_or_number_of_episodes_is_no_other_learner(change):
    assert sizes(member("a", CONFIG), member("b", changed(seed=1, **change))) == [2]


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": {"inner_lr": 0.2}},
        {"task": {"shots": 1}},
        {"task": {"data_dir": "others"}},
        {"device": {"precision": "bf16-mixed"}},
    ],
)
def test_another_algorithm_task_data_or_precision_is_another_learner(change):
    assert sizes(member("a", CONFIG), member("b", changed(seed=1, **change))) == [1, 1]
    assert sizes(member("a", CONFIG), member("b", changed(**change))) == [1, 1]


def test_runs_that_start_from_runs_that_differ_only_in_their_seed_are_one_learner(tmp_path):
    def starting_from(name: str, seed: int, **start: object) -> Member:
        first = RunFolder(tmp_path / name)
        first.path.mkdir()
        config = {"command": "train", "format": FORMAT, **{key: {} for key in SECTIONS}}
        config |= changed(seed=seed, **start)
        first.config.write_text(OmegaConf.to_yaml(config))
        return member(name, {**changed(seed=seed), "init_from": str(first.path)})

    first, second = starting_from("a", 0), starting_from("b", 1)
    assert sizes(first, second) == [2]
    assert sizes(first, starting_from("c", 1, algorithm={"inner_lr": 0.2})) == [1, 1]
    gone = member("d", {**changed(seed=1), "init_from": str(tmp_path / "gone")})
    assert sizes(first, gone) == [1, 1]


def test_one_run_judged_in_two_ways_is_two_learners_and_on_other_episodes_is_not():
    last = changed(evaluation={"checkpoint": "last"})
    assert sizes(member("a", CONFIG), member("a", CONFIG, last)) == [1, 1]
    on_other = changed(seed=1, task={"shots": 1})
    assert sizes(member("a", CONFIG), member("a", CONFIG, on_other)) == [2]


def test_the_same_run_twice_is_refused():
    with pytest.raises(UserError, match="outputs/a/.* and outputs/b/.* same config and seed"):
        group_by_learner([member("a", CONFIG), member("b", CONFIG)])


def test_learners_that_no_override_tells_apart_have_their_folders_names():
    other = member("b", changed(algorithm={"inner_lr": 0.2}))
    assert [one.name for one in group_by_learner([member("a", CONFIG), other])] == ["a", "b"]
