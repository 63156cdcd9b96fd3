"""Network, loss and metrics fit each other and the task: the one that does not is named."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import metaloop
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.tasks import Sinusoid
from tests.meta_gradient.preflight.networks import (
    Rule,
    algorithm_of,
    convolutional,
    plain,
    verdict_of,
)


def failing(error):
    def rule(model, x):
        raise error

    return Rule(rule)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, predictions, targets):
        return self.scale * F.mse_loss(predictions, targets)


class ComplexWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.complex64))

    def forward(self, x):
        return (x * self.weight).real


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (Rule(lambda m, x: (m.head(m.body(x)), x)), "Rule returns a tuple.*one tensor"),
        (Rule(lambda m, x: {"logits": m.head(m.body(x))}), r"Rule returns a dict.*\.logits"),
        (failing(AssertionError()), "Rule fails on a task's support inputs.*AssertionError"),
        (failing(IndexError("9")), "Rule fails on .*IndexError: 9"),
        (failing(ValueError("no")), "Rule fails on .*ValueError: no"),
        (nn.Sequential(nn.Linear(3, 1)), r"fails in 0 \(Linear\).*input_shape"),
        (nn.Sequential(nn.Linear(1, 1)).double(), "parameters are float64, but the inputs float32"),
        (nn.Sequential(nn.Linear(1, 1)).half(), "parameters are float16, but the inputs float32"),
        (ComplexWeight(), "learns the complex parameter weight"),
        (Rule(lambda m, x: m.head(m.body(x)) / 0), "nan or infinite"),
        (Rule(lambda m, x: m.head(m.body(x)).mean()), "first dimension must be the examples"),
    ],
)
def test_a_model_that_gives_no_predictions_is_named_with_its_error(model, says):
    with pytest.raises(UserError, match=says):
        verdict_of(algorithm_of(model))


def test_a_lazy_model_is_refused_where_it_is_handed_in():
    with pytest.raises(UserError, match="lazy: 0.weight has no shape yet. Call the model once"):
        Objective(model=nn.Sequential(nn.LazyLinear(1)), loss=F.mse_loss)


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda p, y: (p - y).abs(), r"returns \[5, 1\] float32 .*a scalar"),
        (lambda p, y: float((p - y).detach().sum()), "returns a float .*a scalar"),
        (lambda p, y: (p - p).mean().log() * 0, "is nan at the initial weights"),
        (lambda p, y: y.square().mean(), "has no gradient with respect to the predictions"),
        (lambda p, y: F.mse_loss(p.detach(), y), "has no gradient with respect to the predictions"),
        (Scaled(), r"The loss Scaled has parameters \(scale\), which would never be learned"),
        (partial(Scaled()), r"The loss Scaled has parameters"),
    ],
)
def test_a_loss_is_a_finite_scalar_of_the_predictions_without_parameters(loss, says):
    with pytest.raises(UserError, match=says):
        verdict_of(algorithm_of(plain(), loss=loss))


def test_a_frozen_module_is_a_loss_like_any_other():
    verdict = verdict_of(algorithm_of(plain(), loss=Scaled().requires_grad_(False)))
    assert verdict.at_once["tasks_at_once"] == "all"


def test_a_network_of_another_width_than_the_tasks_is_refused():
    wide = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 3))
    with pytest.raises(UserError, match=r"returns \[3\] .*output_size is 1"):
        metaloop.check(algorithm_of(wide), Sinusoid(shots=5, queries=5))
    with pytest.raises(UserError, match=r"predictions \[5, 3\].*targets \[5, 1\].*broadcast"):
        verdict_of(algorithm_of(wide))


@pytest.mark.parametrize(
    ("metric", "says"),
    [
        (
            lambda p, y: (p - y).abs(),
            r"The metric off returns \[5, 1\] float32.*must return a scalar",
        ),
        (lambda p, y: (p > y).sum(), r"The metric off returns \[\] int64"),
        (lambda p, y: p @ y, "The metric off fails on predictions"),
    ],
)
def test_a_metric_is_one_number(metric, says):
    with pytest.raises(UserError, match=says):
        verdict_of(algorithm_of(plain(), off=metric))


def test_a_loss_that_does_not_fit_is_named_and_not_the_model():
    def dice(p, y):
        return (p.softmax(1) - F.one_hot(y, 5)).square().mean()

    with pytest.raises(UserError, match=r"The loss .*dice fails on predictions \[6, 3\]"):
        verdict_of(algorithm_of(convolutional(nn.Flatten()), loss=dice), "conv")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
@pytest.mark.parametrize("wrap", [torch.jit.script, nn.DataParallel])
def test_a_wrapper_whose_parameters_cannot_be_swapped_is_refused(wrap):
    network = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    with pytest.raises(UserError, match="stateless API.*Use the network that it wraps"):
        verdict_of(algorithm_of(wrap(network)))


def test_a_network_that_forbids_copies_is_refused():
    class Single(nn.Linear):
        def __deepcopy__(self, memo):
            raise ValueError("there is only one")

    with pytest.raises(UserError, match="Single must be copied for a trial .*only one"):
        verdict_of(algorithm_of(Single(1, 1)))


def test_a_network_that_only_half_precision_breaks_is_told_of_the_precision():
    def gather(m, x):
        rows = torch.zeros(len(x), 8).to(x)
        return m.head(rows.index_add(0, torch.arange(len(x)), m.body(x)))

    model = Rule(gather)
    assert verdict_of(algorithm_of(model)).at_once["tasks_at_once"] == "all"
    says = "Rule fails in half precision, but not in float32: .*device.precision=32-true"
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(UserError, match=says):
        verdict_of(algorithm_of(model))
