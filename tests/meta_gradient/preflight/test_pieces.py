"""The derivatives that an algorithm takes are those of its objective, whoever wrote the pieces."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.algorithms import Algorithm
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.models import MLP
from tests.meta_gradient.preflight.networks import (
    Rule,
    WrongSecond,
    algorithm_of,
    plain,
    verdict_of,
)


class TwoMethods(Algorithm):
    """MAML as a user writes it: adapt and meta_loss."""

    def __init__(self, objective):
        self.objective, self.inner_steps, self.eval_inner_steps = objective, 1, 1

    def adapt(self, meta, support, steps):
        phi = dict(meta)
        yield phi
        for _ in range(steps):
            g = torch.func.grad(lambda p: self.objective.support_loss(p, support))(phi)
            phi = {name: p - 0.1 * g[name] for name, p in phi.items()}
            yield phi

    def meta_loss(self, meta, episode):
        *_, phi = self.adapt(meta, episode.support, 1)
        return self.objective.judge_query(phi, episode)


class TwoMethodsForward(TwoMethods):
    needs_forward_mode = True


def of_two_methods(model, kind=TwoMethods) -> Algorithm:
    return kind(Objective(model=model, loss=F.mse_loss))


def wrong_layer() -> nn.Module:
    return Rule(lambda m, x: m.head(WrongSecond.apply(m.body(x))))


@pytest.mark.parametrize("algorithm", [algorithm_of(wrong_layer()), of_two_methods(wrong_layer())])
def test_a_wrong_second_derivative_is_refused_in_any_algorithm(algorithm):
    with pytest.raises(UserError, match=r"second derivative .* is off by .*body \(Linear\)"):
        verdict_of(algorithm)


def test_an_algorithm_of_two_methods_is_vectorised_where_that_is_exact():
    assert verdict_of(of_two_methods(plain())).at_once["tasks_at_once"] == "all"


def test_forward_mode_is_checked_if_the_algorithm_needs_it():
    def rule(m, x):
        return m.head(torch.tanh(m.body(x)) * m.body(x).data.norm())

    verdict_of(of_two_methods(Rule(rule)))  # by reverse mode alone .data is a constant
    with pytest.raises(UserError, match="uses Tensor.data .*differ by"):
        verdict_of(of_two_methods(Rule(rule), TwoMethodsForward))


def test_a_first_order_algorithm_needs_no_second_derivative():
    assert verdict_of(algorithm_of(wrong_layer(), name="fomaml")).at_once["tasks_at_once"] == "all"


def test_a_wrong_loss_is_found_under_a_model_of_metaloops_and_named():
    def loss(p, y):
        return WrongSecond.apply(p - y).mean()

    with pytest.raises(UserError, match="Look at the loss .*loss: a loss with a custom backward"):
        verdict_of(algorithm_of(MLP(1, 1, hidden=[8]), loss=loss))


def test_a_loss_that_torch_cannot_differentiate_twice_is_named():
    def loss(p, y):
        lengths = torch.tensor([len(p)])
        return torch.segment_reduce((p - y).square().flatten(), "mean", lengths=lengths).sum()

    with pytest.raises(UserError, match="The loss .*loss cannot be differentiated twice"):
        verdict_of(algorithm_of(plain(), loss=loss))


def scaled_without_gradient(m, x):
    h = torch.tanh(m.body(x))
    with torch.no_grad():
        size = h.norm()
    return m.head(h * size)


def test_no_grad_is_exact_in_reverse_mode_and_refused_in_forward_mode():
    verdict = verdict_of(algorithm_of(Rule(scaled_without_gradient)))
    assert verdict.at_once["tasks_at_once"] == "all"
    assert "gradient of body.bias, body.weight is not the slope" in verdict.notes[0]
    with pytest.raises(UserError, match=r"uses torch.no_grad .*differ by .*x.detach\(\)"):
        verdict_of(algorithm_of(Rule(scaled_without_gradient), "recomputed"))


def scaled_in_a_mode(m, x):
    h = torch.tanh(m.body(x))
    with torch.set_grad_enabled(False):
        size = h.norm()
    return m.head(h * size)


def scaled_by_a_detached_copy(m, x):
    h = torch.tanh(m.body(x))
    return m.head(h * (1 * h).detach_().norm())


@pytest.mark.parametrize(
    ("rule", "name"),
    [(scaled_in_a_mode, "torch.set_grad_enabled"), (scaled_by_a_detached_copy, "Tensor.detach_")],
)
def test_what_reverse_mode_alone_takes_as_constant_is_named(rule, name):
    assert "is not the slope" in verdict_of(algorithm_of(Rule(rule))).notes[0]
    with pytest.raises(UserError, match=f"uses {name} .*differ by .*x.detach"):
        verdict_of(algorithm_of(Rule(rule), "recomputed"))


def rounded(h):
    return h + (h.round() - h).detach()


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_a_straight_through_estimator_is_accepted_with_a_note(adjoint):
    verdict = verdict_of(algorithm_of(Rule(lambda m, x: m.head(rounded(m.body(x)))), adjoint))
    assert verdict.at_once["tasks_at_once"] == "all"
    assert verdict.notes[0].startswith("The gradient of body.bias, body.weight is not the slope")


def test_a_wrong_layer_after_a_straight_through_estimator_is_found():
    def rule(m, x):
        return m.tail(WrongSecond.apply(m.head(rounded(m.body(x)))))

    with pytest.raises(UserError, match="autograd.Function WrongSecond is not"):
        verdict_of(algorithm_of(Rule(rule, tail=nn.Linear(1, 1))))


def test_parameters_keep_to_where_the_loss_is_defined():
    model = Rule(
        lambda m, x: m.head(torch.tanh(m.body(x))) * m.scale.sqrt(),
        scale=nn.Parameter(torch.tensor(0.02)),
    )
    assert verdict_of(algorithm_of(model)).at_once["tasks_at_once"] == "all"


def test_a_padding_rows_gradient_is_zero_by_definition():
    model = Rule(
        lambda m, x: m.head(torch.tanh(m.words((x[:, 0] > 0).long()))),
        words=nn.Embedding(3, 8, padding_idx=0),
    )
    nn.init.ones_(model.words.weight)  # a row that the loss does depend on
    verdict = verdict_of(algorithm_of(model), asked=1)
    assert not verdict.notes


def test_kinks_of_relus_are_not_taken_for_wrong_derivatives():
    torch.manual_seed(0)
    layers = [nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 1)]
    assert verdict_of(algorithm_of(nn.Sequential(*layers))).at_once["tasks_at_once"] == "all"


class Rounded(torch.autograd.Function):
    """Rounds; its gradient is passed through."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x.round()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g


@pytest.mark.parametrize("estimator", [rounded, Rounded.apply])
def test_a_wrong_layer_before_a_straight_through_estimator_is_found(estimator):
    def wrong(m, x):
        return m.head(estimator(WrongSecond.apply(m.body(x))))

    def right(m, x):
        return m.head(estimator(torch.tanh(m.body(x))))

    with pytest.raises(UserError, match="autograd.Function WrongSecond is not differentiated"):
        verdict_of(algorithm_of(Rule(wrong)))
    assert verdict_of(algorithm_of(Rule(right))).at_once["tasks_at_once"] == "all"


@pytest.mark.parametrize(
    "rule",
    [
        lambda m, x: m.head((m.body(x) - m.body(x)).square().sqrt() + m.body(x)),
        lambda m, x: m.head(torch.where(m.body(x) > 9, m.body(x).sqrt(), m.body(x))),
    ],
)
def test_a_derivative_that_plain_autograd_lacks_too_is_explained(rule):
    with pytest.raises(
        UserError, match="nan or infinite at its initial weights, even with plain auto"
    ):
        verdict_of(algorithm_of(Rule(rule)))


def test_inner_steps_may_leave_the_domain_at_the_second_point():
    model = Rule(
        lambda m, x: m.head(torch.tanh(m.body(x))) * m.scale.log(),
        scale=nn.Parameter(torch.tensor(0.05)),
    )
    assert verdict_of(algorithm_of(model)).at_once["tasks_at_once"] == "all"


def test_a_loss_that_raises_outside_of_its_domain_is_checked_closer():
    def rule(m, x):
        if 0.021 < float(m.scale.detach()) < 0.03:  # the second point, of a step of 10 %
            raise ValueError("no longer positive definite")
        return m.head(torch.tanh(m.body(x))) * m.scale

    model = Rule(rule, scale=nn.Parameter(torch.tensor(0.02)))
    verdict = verdict_of(algorithm_of(model), asked=1)
    assert verdict.tried[0].is_exact
