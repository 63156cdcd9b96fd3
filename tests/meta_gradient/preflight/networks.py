"""Small networks that do what a check has to see, and the check of an algorithm made of them."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import Algorithm
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import AtOnce, Verdict, preflight_check
from tests.episodes import random_episodes, recipe


class Rule(nn.Module):
    """A body and a head; the rule says what the forward pass does with them."""

    def __init__(self, rule, **more):
        super().__init__()
        torch.manual_seed(0)
        self.rule, self.body, self.head = rule, nn.Linear(1, 8), nn.Linear(8, 1)
        for name, value in more.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.rule(self, x)


def plain() -> nn.Module:
    return Rule(lambda m, x: m.head(torch.tanh(m.body(x))))


def convolutional(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=3), *layers, nn.Linear(64, 3))


def algorithm_of(model, adjoint="unrolled", loss=F.mse_loss, name="maml", **metrics) -> Algorithm:
    return recipe(name, Objective(model=model, loss=loss, metrics=metrics), adjoint)


def float32_episodes(network="mlp"):
    episodes = random_episodes(network)
    return tree_map(lambda t: t.float() if t.is_floating_point() else t, episodes)


def verdict_of(algorithm, network="mlp", episodes=None, asked="all", chunks=1, **more) -> Verdict:
    meta = {**algorithm.objective.meta_parameters(), **algorithm.own_parameters()}
    at_once = AtOnce(tasks_at_once=asked, chunks_at_once=chunks)
    episodes = float32_episodes(network) if episodes is None else episodes
    return preflight_check(algorithm, meta, episodes, at_once, **more)


class WrongSecond(torch.autograd.Function):
    """x^2 whose gradient is right and whose second derivative is zero."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0].detach()
