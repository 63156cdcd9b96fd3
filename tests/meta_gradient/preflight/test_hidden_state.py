"""What a loss or a metric reads besides parameters, data and torch's random state is refused."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.errors import UserError
from tests.meta_gradient.preflight.networks import Rule, algorithm_of, plain, verdict_of


def with_closure() -> nn.Module:
    model = Rule(lambda m, x: m.head(m.act(m.body(x))), extra=nn.Linear(8, 8))
    model.act = lambda h: torch.tanh(model.extra(h))
    return model


def with_hook() -> nn.Module:
    model = plain()
    model.head.register_forward_hook(lambda layer, inputs, y: y + model.body.bias.sum())
    return model


def with_list() -> nn.Module:
    return Rule(lambda m, x: m.head(m.hidden[0](m.body(x))), hidden=[nn.Linear(8, 8)])


def with_alias() -> nn.Module:
    model = Rule(lambda m, x: m.head(F.linear(x, *m.tensors)))
    model.tensors = [model.body.weight, model.body.bias]
    return model


def with_bare_tensor() -> nn.Module:
    return Rule(lambda m, x: m.head(m.body(x) * m.scale), scale=torch.ones(8, requires_grad=True))


def cached(m, x):
    if m.cache is None:
        m.cache = m.body.weight.tanh()
    return m.head(F.linear(x, m.cache))


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (with_closure, "extra.weight"),
        (with_hook, "body.bias"),
        (with_list, r"shape \[8, 8\]"),
        (with_alias, "body.weight, body.bias"),
        (with_bare_tensor, r"shape \[8\]"),
        (lambda: Rule(cached, cache=None), r"shape \[8, 1\]"),
    ],
)
def test_tensors_to_learn_that_are_no_parameters_of_the_model_are_refused(make, what):
    with pytest.raises(UserError, match=f"Rule or its loss reads .*{what}.* past the model's"):
        verdict_of(algorithm_of(make()))


def test_a_losss_own_parameter_is_refused_also_in_a_closure():
    scale = nn.Parameter(torch.tensor(0.5))
    with pytest.raises(UserError, match="reads a tensor of shape .* past the model's parameters"):
        verdict_of(algorithm_of(plain(), loss=lambda p, y: F.mse_loss(p * scale, y)))
    scale.requires_grad_(False)
    loss = verdict_of(algorithm_of(plain(), loss=lambda p, y: F.mse_loss(p * scale.to(p), y)))
    assert loss.at_once["tasks_at_once"] == "all"


def scaled_by_first_weight(m, x):
    if m.scale is None:
        m.scale = m.body.weight.detach().norm()
    return m.head(m.body(x) / m.scale)


def centred_by_first_task(m, x):
    if m.centre is None:
        m.centre = x.mean(0)
    return m.head(m.body(x - m.centre))


@pytest.mark.parametrize(
    ("rule", "attribute"), [(scaled_by_first_weight, "scale"), (centred_by_first_task, "centre")]
)
def test_a_value_that_the_first_pass_keeps_is_refused_by_name(rule, attribute):
    with pytest.raises(UserError, match=f"keeps a value of its first .*attribute {attribute}"):
        verdict_of(algorithm_of(Rule(rule, **{attribute: None})))


def test_a_constant_that_the_first_pass_makes_is_allowed():
    def rule(m, x):
        if m.places is None:
            m.places = torch.linspace(-1, 1, 8).to(x)
        return m.head(torch.tanh(m.body(x)) * m.places)

    assert verdict_of(algorithm_of(Rule(rule, places=None))).at_once["tasks_at_once"] == "all"


@pytest.mark.parametrize("draw", [random.random, np.random.rand])
def test_random_numbers_that_are_not_torchs_are_refused_even_if_rarely_used(draw):
    def rule(m, x):
        return m.head(torch.tanh(m.body(x)) if draw() < 0.999999 else m.body(x))

    with pytest.raises(UserError, match="Python's or NumPy's random numbers"):
        verdict_of(algorithm_of(Rule(rule)))


def test_a_metric_that_remembers_its_calls_is_refused_by_name():
    seen = []

    def running(p, y):
        seen.append((p - y).abs().mean())
        return torch.stack(seen).mean()

    with pytest.raises(UserError, match="The metric running remembers its earlier calls"):
        verdict_of(algorithm_of(plain(), running=running))
