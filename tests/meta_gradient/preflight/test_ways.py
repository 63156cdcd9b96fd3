"""The first way that equals plain autograd is taken; what it cannot take goes task by task."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.meta_gradient import adaptation_path
from metaloop.models import MLP
from tests.meta_gradient.preflight.networks import (
    Rule,
    algorithm_of,
    convolutional,
    float32_episodes,
    plain,
    verdict_of,
)

CLASSES = torch.tensor([1.0, 2.0, 3.0])


class Flat(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)


class Recurrent(nn.Module):
    def __init__(self, kind, start=None):
        super().__init__()
        torch.manual_seed(0)
        self.cell, self.head, self.start = kind(1, 6, batch_first=True), nn.Linear(6, 1), start

    def forward(self, x):
        start = [] if self.start is None else [torch.zeros(1, len(x), 6)]
        return self.head(self.cell(x[:, :, None], *start)[0][:, -1])


def with_head(*layers):
    model = MLP(1, 1, hidden=[8])
    model.head = nn.Sequential(*layers, nn.Linear(8, 1))
    return model


@pytest.mark.parametrize("layer", [nn.LayerNorm(8), nn.GroupNorm(2, 8)])
def test_a_metaloop_model_with_a_replaced_layer_is_checked(layer):
    verdict = verdict_of(algorithm_of(with_head(layer)))
    vectorised, one_by_one = verdict.tried
    assert one_by_one.is_exact
    if not vectorised.is_exact:
        assert verdict.at_once["tasks_at_once"] == 1
        assert type(layer).__name__ in verdict.slower[0]


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("asked", [1, "all"])
@pytest.mark.parametrize("layers", [[nn.Tanh(), Flat()], [nn.GroupNorm(2, 4), nn.Tanh(), Flat()]])
def test_convolutions_whose_output_is_viewed_are_exact(layers, asked, adjoint):
    algorithm = algorithm_of(convolutional(*layers), adjoint, F.cross_entropy)
    verdict = verdict_of(algorithm, "conv", asked=asked)
    assert verdict.at_once["tasks_at_once"] == asked
    assert all(one.error < 1e-12 for one in verdict.tried)


def test_a_loss_module_takes_its_weights_along_into_float64():
    algorithm = algorithm_of(convolutional(nn.Flatten()), loss=nn.CrossEntropyLoss(weight=CLASSES))
    assert "float64" in verdict_of(algorithm, "conv").checked


@pytest.mark.parametrize(
    ("algorithm", "network"),
    [
        (
            algorithm_of(
                convolutional(nn.Flatten()), loss=partial(F.cross_entropy, weight=CLASSES)
            ),
            "conv",
        ),
        (algorithm_of(Rule(lambda m, x: m.head(torch.tanh(m.body(x.float()))))), "mlp"),
        (algorithm_of(plain(), loss=lambda p, y: F.mse_loss(p @ torch.ones(1, 1), y)), "mlp"),
        (algorithm_of(Recurrent(nn.GRU, start=0)), "mlp"),
    ],
)
def test_a_model_that_only_runs_in_its_own_dtype_is_checked_in_it(algorithm, network):
    verdict = verdict_of(algorithm, network)
    assert "float32" in verdict.checked
    assert "Compared in float32" in verdict.notes[-1]


def test_a_model_that_casts_is_compared_at_its_own_precision():
    def rule(m, x):
        return m.head(torch.tanh(m.body(x)).float().to(x.dtype))

    assert "float32" in verdict_of(algorithm_of(Rule(rule))).checked


class OnlyWide(nn.Linear):
    """Has a forward derivative in float64 alone, as some of torch's kernels have."""

    def forward(self, x):
        y = super().forward(x)
        return OldStyle.apply(y) if y.dtype == torch.float32 else y


def test_a_dtype_that_the_model_does_not_support_is_refused_before_training():
    model = nn.Sequential(OnlyWide(1, 8), nn.Tanh(), nn.Linear(8, 1))
    with pytest.raises(UserError, match="adjoint=unrolled"):
        verdict_of(algorithm_of(model, "recomputed"))


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_recurrent_layers_are_exact_and_vectorised_in_float32_too(adjoint):
    verdict = verdict_of(algorithm_of(Recurrent(nn.LSTM), adjoint))
    assert verdict.at_once["tasks_at_once"] == "all"


class OldStyle(torch.autograd.Function):
    """Gradient reversal, as written before torch.func."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -g


def reversal():
    return Rule(lambda m, x: m.head(OldStyle.apply(torch.tanh(m.body(x)))))


def gradient_inside():
    def rule(m, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            slope = torch.autograd.grad(torch.tanh(m.body(x)).sum(), x, create_graph=True)[0]
        return m.head(torch.tanh(m.body(x))) + slope

    return Rule(rule)


def hooked():
    model = plain()
    model.body.register_full_backward_hook(lambda *call: None)
    return model


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (reversal, "an old-style autograd.Function"),
        (gradient_inside, "torch.autograd.grad inside a forward pass"),
        (hooked, "full backward hook"),
    ],
)
def test_a_model_that_torch_func_does_not_support_runs_task_by_task(model, reason):
    verdict = verdict_of(algorithm_of(model()))
    assert verdict.at_once["tasks_at_once"] == 1
    assert reason in verdict.slower[0]
    with pytest.raises(UserError, match=f"torch.func, but .*{reason}.*adjoint=unrolled"):
        verdict_of(algorithm_of(model(), "recomputed"))


@pytest.mark.parametrize("model", [reversal, gradient_inside])
def test_a_model_that_torch_func_refuses_is_evaluated_task_by_task(model):
    algorithm, episodes = algorithm_of(model()), float32_episodes()
    report = adaptation_path(
        algorithm,
        algorithm.objective.meta_parameters(),
        episodes,
        steps=1,
        tasks_at_once=1,
        is_detailed=True,
    )
    assert report["gradient_cosine"].shape == (len(episodes.classes), 2)
    assert bool((report["support_gradient_norm"] > 0).all())


def test_support_plus_one_vectorises_the_query_set_or_refuses():
    algorithm = algorithm_of(gradient_inside())
    objective = replace(algorithm.objective, norm_mode="support_plus_one")
    with pytest.raises(UserError, match="support_plus_one predicts .*Use norm_mode=inductive"):
        verdict_of(algorithm.judged_by(objective))


def branching(p, y):
    return F.mse_loss(p, y) if float(p.detach().sum()) > 0 else 2 * F.mse_loss(p, y)


def masked(p, y):
    return (p - y).square()[y > 0].mean()


def gaussian(p, y):
    return F.gaussian_nll_loss(p[:, :1], y, F.softplus(p[:, 1:]))


@pytest.mark.parametrize(("loss", "outputs"), [(branching, 1), (masked, 1)])
@pytest.mark.parametrize("make", [lambda n: MLP(1, n, hidden=[8]), lambda n: nn.Linear(1, n)])
def test_a_loss_that_cannot_be_vectorised_is_named_whatever_the_model(loss, outputs, make):
    verdict = verdict_of(algorithm_of(make(outputs), loss=loss))
    assert verdict.at_once["tasks_at_once"] == 1
    assert f"Look at the loss {loss.__name__}" in verdict.slower[0]


def test_a_loss_whose_branches_torch_takes_by_value_is_vectorised():
    verdict = verdict_of(algorithm_of(nn.Linear(1, 2), loss=gaussian))
    assert verdict.at_once["tasks_at_once"] == "all"


def test_chunks_side_by_side_take_a_model_that_keeps_activations():
    def rule(m, x):
        m.kept.append(torch.tanh(m.body(x)))
        return m.head(m.kept[-1])

    torch.set_num_threads(2)
    model = Rule(rule, kept=[])
    model(torch.ones(2, 1))
    verdict = verdict_of(algorithm_of(model), asked=1, chunks=2)
    assert verdict.at_once == {"tasks_at_once": 1, "chunks_at_once": 2}


def test_metaloops_own_pieces_are_not_checked_again():
    algorithm = algorithm_of(MLP(1, 1, hidden=[8]))
    assert not verdict_of(algorithm).tried
    assert verdict_of(algorithm, skips_known=False).tried
    assert verdict_of(algorithm_of(MLP(1, 1, hidden=[8]), off=lambda p, y: (p - y).mean())).tried


def test_a_learner_that_is_only_adapted_is_compared_there():
    verdict = verdict_of(algorithm_of(plain()), trains=False)
    assert verdict.at_once["tasks_at_once"] == "all"


def test_a_model_whose_evaluation_cannot_be_vectorised_runs_task_by_task():
    def rule(m, x):
        is_large = not m.training and float(x.abs().max()) > 1
        return m.head(torch.tanh(m.body(x)) * (2 if is_large else 1))

    verdict = verdict_of(algorithm_of(Rule(rule)))
    assert verdict.at_once["tasks_at_once"] == 1
    assert r"a Python branch on a tensor's value) in eval() when tasks" in verdict.slower[0]


def test_a_metric_that_cannot_be_vectorised_is_named():
    def above(p, y):
        return (p - y)[y > 0].abs().mean() if float(y.max()) > 0 else (p - y).mean()

    verdict = verdict_of(algorithm_of(plain(), above=above))
    assert verdict.at_once["tasks_at_once"] == 1
    assert "Look at the metric above" in verdict.slower[0]
