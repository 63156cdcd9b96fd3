"""A model that vmap differentiates wrongly never runs vectorised."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from metaloop.inner_loop import Objective
from metaloop.meta_gradient import meta_gradient
from metaloop.models import MLP
from tests.episodes import exact_tasks_at_once, make, random_case
from tests.meta_gradient.preflight.networks import Rule, algorithm_of, verdict_of


@pytest.mark.parametrize("tracked", [True, False])
def test_torchs_batch_norm_is_exact_and_vectorised(tracked):
    norm = partial(nn.BatchNorm2d, track_running_stats=tracked)
    algorithm, theta, episodes = random_case("conv", norm=norm)
    vmapped, _ = meta_gradient(algorithm, theta, episodes)
    one_by_one, _ = meta_gradient(algorithm, theta, episodes, tasks_at_once=1)
    for name, value in one_by_one.items():
        torch.testing.assert_close(vmapped[name], value, rtol=1e-10, atol=1e-12)
    before = {n: b.clone() for n, b in algorithm.objective.model.named_buffers()}
    assert exact_tasks_at_once(algorithm, theta, episodes, "all") == "all"
    now = dict(algorithm.objective.model.named_buffers())
    assert all(torch.equal(now[n], b) for n, b in before.items())


@pytest.mark.parametrize("norm", [lambda n: nn.GroupNorm(2, n), lambda n: nn.Identity()])
def test_exact_models_keep_their_vmap(norm):
    algorithm, theta, episodes = random_case("conv", norm=norm)
    for asked in (1, 2, "all"):
        assert exact_tasks_at_once(algorithm, theta, episodes, asked) == asked


class Foreign(nn.LayerNorm):
    """Somebody's own layer that hides its layer norm, which vmap differentiates wrongly."""

    def forward(self, x):
        with torch._C.DisableTorchFunction():
            return super().forward(x)


def test_a_hidden_layer_norm_is_caught():
    model = nn.Sequential(nn.Linear(1, 8), Foreign(8), nn.Tanh(), nn.Linear(8, 1)).double()
    _, _, episodes = random_case("mlp")
    algorithm = make("maml", Objective(model=model, loss=nn.functional.mse_loss), 0.1, 2)
    theta = algorithm.objective.meta_parameters()
    with pytest.warns(UserWarning, match=r"1 \(Foreign\)"):
        assert exact_tasks_at_once(algorithm, theta, episodes, "all") == 1


def test_a_model_that_cannot_be_vectorised_runs_task_by_task():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(1, 1)

        def forward(self, x):
            return self.layer(x) if float(x.sum()) > 0 else -self.layer(x)  # reads a value

    _, _, episodes = random_case("mlp")
    model = Branching().double()
    algorithm = make("maml", Objective(model=model, loss=nn.functional.mse_loss), 0.1, 1)
    with pytest.warns(UserWarning, match="Branching fails .vmap does not support a Python branch"):
        assert (
            exact_tasks_at_once(algorithm, algorithm.objective.meta_parameters(), episodes, "all")
            == 1
        )


def test_dropout_is_vectorised_and_the_model_is_unchanged():
    model = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    _, _, episodes = random_case("mlp")
    episodes = torch.utils._pytree.tree_map(torch.Tensor.float, episodes)
    algorithm = make("maml", Objective(model=model, loss=nn.functional.mse_loss), 0.1, 1)
    assert exact_tasks_at_once(algorithm, algorithm.objective.meta_parameters(), episodes, 2) == 2
    assert model[1].p == 0.5
    assert model[0].weight.dtype == torch.float32


def test_a_zero_head_hides_no_fault_and_the_check_keeps_the_random_state():
    model = nn.Sequential(nn.Linear(1, 8), Foreign(8), nn.Tanh(), nn.Linear(8, 1)).double()
    nn.init.zeros_(model[3].weight)
    _, _, episodes = random_case("mlp")
    algorithm = make("maml", Objective(model=model, loss=nn.functional.mse_loss), 0.1, 1)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=r"is off by \S* when tasks are vectorised"):
        assert (
            exact_tasks_at_once(algorithm, algorithm.objective.meta_parameters(), episodes, "all")
            == 1
        )
    assert torch.equal(torch.rand(3), expected)


def test_a_metaloop_model_with_a_foreign_layer_is_checked():
    model = MLP(1, 1, hidden=[8]).double()
    model.body.append(Foreign(8).double())
    _, _, episodes = random_case("mlp")
    algorithm = make("maml", Objective(model=model, loss=nn.functional.mse_loss), 0.1, 2)
    theta = algorithm.objective.meta_parameters()
    with pytest.warns(UserWarning, match=r"MLP .*task by task.*\(Foreign\)"):
        assert exact_tasks_at_once(algorithm, theta, episodes, "all") == 1


def test_steps_that_magnify_rounding_are_distinguished_from_a_wrong_function():
    model = Rule(lambda m, x: torch.sin(m.head(torch.tanh(m.body(x)))))
    algorithm = make("maml", Objective(model=model, loss=nn.functional.mse_loss), 1e9, 1)
    (why,) = verdict_of(algorithm).slower
    assert re.search("off by .*its inner steps magnify rounding.*take smaller steps", why)


def test_constants_that_forward_makes_in_float32_do_not_lower_the_precision():
    def rule(m, x):
        mask = torch.ones(8, 8).triu(1) * torch.ones(8, 8)
        return m.head(torch.tanh(m.body(x)) @ mask.to(x))

    verdict = verdict_of(algorithm_of(Rule(rule)))
    assert "in float64" in verdict.checked
    assert "in float32" in verdict_of(algorithm_of(Rule(lambda m, x: rule(m, x).float()))).checked


def test_half_precision_inside_is_not_judged_by_finite_differences():
    def rule(m, x):
        return m.head(torch.tanh(m.body(x).bfloat16()).to(x))

    verdict = verdict_of(algorithm_of(Rule(rule)))
    assert "in bfloat16" in verdict.checked
    assert "too coarse to compare second derivatives" in verdict.notes[0]
