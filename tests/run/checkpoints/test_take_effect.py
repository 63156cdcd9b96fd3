"""Accepted changes reach what a checkpoint would restore; test_origin.py has whole runs."""

import functools

import pytest
import torch
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.inner_loop import Objective
from metaloop.run.checkpoints.take_effect import take_effect
from metaloop.training.meta_learner import MetaLearner


def learner(lr=0.1, make=torch.optim.SGD, **options) -> MetaLearner:
    torch.manual_seed(0)
    objective = Objective(model=torch.nn.Linear(1, 1), loss=F.mse_loss)
    algorithm = maml(objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=1, adjoint="unrolled")
    halve = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2, gamma=0.5)
    optimizer = functools.partial(make, lr=lr, **options)
    return MetaLearner(algorithm, optimizer=optimizer, scheduler=halve)


def checkpoint_of(module: MetaLearner, step: int) -> dict:
    """What Lightning saves after so many meta-steps, without the weights."""
    (optimizer,), (scheduler,) = module.configure_optimizers()
    for _ in range(step):
        torch.stack([p.sum() for p in module.meta.values()]).sum().backward()
        optimizer.step()
        scheduler.step()
    return {
        "global_step": step,
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "callbacks": {"Stop": {"wait": 3}, "Best": {"score": 1.0}},
        "stopped": True,
    }


def test_a_changed_rate_follows_the_schedule_from_its_beginning_and_keeps_the_moments():
    checkpoint = checkpoint_of(learner(momentum=0.9), 3)
    moments = checkpoint["optimizer_states"][0]["state"]
    take_effect({"optimizer.lr": (0.1, 1.0)}, checkpoint, learner(1.0, momentum=0.9), {})
    (state,) = checkpoint["optimizer_states"]
    assert state["param_groups"][0]["lr"] == 0.5  # 1.0, halved once in three meta-steps
    assert checkpoint["lr_schedulers"][0]["last_epoch"] == 3
    assert state["state"] is moments


def test_another_optimizer_starts_without_moments():
    checkpoint = checkpoint_of(learner(make=torch.optim.Adam), 3)
    changes = {"optimizer._target_": ("torch.optim.Adam", "torch.optim.SGD")}
    take_effect(changes, checkpoint, learner(), {})
    assert checkpoint["optimizer_states"][0]["state"] == {}


@pytest.mark.parametrize(
    ("key", "kept"), [("callbacks.stop.patience", ["Best"]), ("data.workers", ["Stop", "Best"])]
)
def test_a_changed_callback_starts_anew_and_others_go_on(key, kept):
    checkpoint = checkpoint_of(learner(), 0)

    class Stop:
        state_key = "Stop"

    take_effect({key: (1, 2)}, checkpoint, learner(), {"stop": Stop()})
    assert list(checkpoint["callbacks"]) == kept
