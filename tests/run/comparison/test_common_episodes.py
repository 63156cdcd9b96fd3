"""A learner is tested again on the episodes of another, judged as it was."""

import torch

from metaloop.run.comparison.common_episodes import plan_retest
from metaloop.run.comparison.evaluated_run import EvaluatedRun, find_evaluated_run
from metaloop.run.config.read import load_config
from metaloop.run.config.write import write_evaluation
from metaloop.run.evaluation.results import write_results


def evaluated(run, **changes) -> EvaluatedRun:
    config = load_config(run)
    content = {**config, **{name: {**config[name], **c} for name, c in changes.items()}}
    folder = write_evaluation(run, "test", content, [])
    write_results(folder.path, {}, {"query_loss": torch.ones(2, 2)})
    return find_evaluated_run(run, "test")


def test_on_the_same_episodes_nothing_is_left_to_do(make_run):
    one = evaluated(make_run("seed=1"))
    other = evaluated(make_run("seed=1"), evaluation={"checkpoint": "last"})
    assert plan_retest(one, other) is None


def test_seed_and_task_are_the_firsts_and_the_judgement_stays_the_learners_own(make_run):
    one = evaluated(make_run("seed=1", "task.shots=7"))
    other = evaluated(make_run("seed=2"), evaluation={"checkpoint": "last"})
    retest = plan_retest(one, other)
    assert (retest.config.seed, retest.config.task["shots"]) == (1, 7)
    assert retest.config.evaluation.checkpoint == "last"
    assert set(retest.changes) == {"seed=1", "task.shots=7"}
