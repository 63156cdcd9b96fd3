"""An evaluator judges a learner, or several together, and keeps the order of the episodes."""

import pytest
import torch
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import AtOnce
from metaloop.tasks import Sinusoid
from metaloop.training.datamodule import EvaluationEpisodes
from metaloop.training.evaluator import Evaluator

TASK = Sinusoid(shots=3, queries=4)
AT_ONCE = AtOnce(tasks_at_once="all", chunks_at_once=1)


def learner():
    torch.manual_seed(0)
    objective = Objective(model=torch.nn.Linear(1, 1), loss=F.mse_loss)
    return maml(objective, inner_lr=0.05, inner_steps=1, eval_inner_steps=2, adjoint="unrolled")


def judged(evaluator, algorithm, batch_size=4, order=1):
    batches = list(EvaluationEpisodes(TASK, 0, "test", 6, batch_size))[::order]
    for batch in batches:
        evaluator.judge(
            algorithm,
            algorithm.objective.meta_parameters(),
            batch,
            meta_step=0,
            at_once=AT_ONCE,
            is_detailed=False,
        )
    return evaluator.finish()["query_loss"]


def test_every_episode_is_judged_at_every_inner_step():
    algorithm = learner()
    found = judged(Evaluator(), algorithm)
    assert found.shape == (6, 3)
    (batch,) = EvaluationEpisodes(TASK, 0, "test", 1, 1)
    query = batch.episodes.query
    by_hand = F.mse_loss(algorithm.objective.model(query.inputs[0]), query.targets[0])
    assert float(found[0, 0]) == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_neither_batches_nor_their_order_change_a_value():
    evaluator, algorithm = Evaluator(), learner()
    together = judged(evaluator, algorithm, batch_size=6)
    torch.testing.assert_close(judged(evaluator, algorithm, batch_size=2, order=-1), together)


def test_weights_that_were_set_are_judged_instead_of_those_in_training():
    evaluator, algorithm = Evaluator(), learner()
    zero = {name: torch.zeros_like(p) for name, p in algorithm.objective.meta_parameters().items()}
    evaluator.set_judged([zero], meta_step=0)
    (batch,) = EvaluationEpisodes(TASK, 0, "test", 6, 6)
    expected = batch.episodes.query.targets.square().mean((1, 2))  # a learner that predicts 0
    torch.testing.assert_close(judged(evaluator, algorithm)[:, 0], expected.double())


def test_members_of_an_ensemble_predict_together():
    evaluator, algorithm = Evaluator(), learner()
    theta = algorithm.objective.meta_parameters()
    members = [{n: p + shift for n, p in theta.items()} for shift in (-1.0, 1.0)]
    evaluator.set_judged(members, meta_step=0)
    # the mean of two linear learners is the one between them
    one = judged(Evaluator(), algorithm)[:, 0]
    torch.testing.assert_close(judged(evaluator, algorithm)[:, 0], one, rtol=1e-5, atol=1e-5)
