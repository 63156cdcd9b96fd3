"""An algorithm of a user's own keeps its contract, or is refused in the contract's words."""

import pytest
import torch
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from tests.meta_gradient.preflight.networks import plain, verdict_of
from tests.meta_gradient.preflight.test_pieces import TwoMethods


def of(**methods):
    """The algorithm of two methods, with others in their place."""
    kind = type("Own", (TwoMethods,), methods)
    return kind(Objective(model=plain(), loss=F.mse_loss))


def returning(change):
    def meta_loss(self, meta, episode):
        return change(*TwoMethods.meta_loss(self, meta, episode))

    return {"meta_loss": meta_loss}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda loss, report: loss, "but it returns a Tensor"),
        (lambda loss, report: (loss.detach(), report), "it is constant or no scalar"),
        (lambda loss, report: (loss.expand(2), report), "it is constant or no scalar"),
        (lambda loss, report: (float(loss.detach()), report), "it is constant or no scalar"),
        (lambda loss, report: (loss, {}), "query_loss is missing"),
        (lambda loss, report: (loss, {**report, "lr": 0.1}), "but lr is none"),
    ],
)
def test_what_meta_loss_returns_is_checked(change, says):
    with pytest.raises(UserError, match=rf"Own must return \(loss, report\).*{says}"):
        verdict_of(of(**returning(change)))


def shrink_meta(self, meta, episode):
    with torch.no_grad():
        meta["body.weight"].mul_(0.9)
    return TwoMethods.meta_loss(self, meta, episode)


def shrink_model(self, meta, episode):
    with torch.no_grad():
        self.objective.model.body.weight.mul_(0.9)
    return TwoMethods.meta_loss(self, meta, episode)


def centre_inputs(self, meta, episode):
    episode.support.inputs.sub_(episode.support.inputs.mean())
    episode.support.inputs.mul_(2)
    return TwoMethods.meta_loss(self, meta, episode)


@pytest.mark.parametrize(
    ("meta_loss", "what"),
    [
        (shrink_meta, r"meta\['body.weight'\]"),
        (shrink_model, "the model's body.weight"),
        (centre_inputs, "the support set"),
    ],
)
def test_nothing_that_an_algorithm_is_given_is_changed(meta_loss, what):
    with pytest.raises(UserError, match=f"Own changes .*{what}.* in place"):
        verdict_of(of(meta_loss=meta_loss))


def test_an_algorithm_that_remembers_tasks_is_refused():
    def meta_loss(self, meta, episode):
        loss, report = TwoMethods.meta_loss(self, meta, episode)
        self.mean = 0.9 * getattr(self, "mean", 1.0) + 0.1 * loss.detach()
        return loss * self.mean, report

    with pytest.raises(UserError, match="another meta-gradient for the same tasks the second time"):
        verdict_of(of(meta_loss=meta_loss))


def test_an_algorithm_that_draws_random_numbers_runs_task_by_task():
    def adapt(self, meta, support, steps):
        for phi in TwoMethods.adapt(self, meta, support, steps):
            yield {name: p + 0.01 * torch.randn_like(p) for name, p in phi.items()}

    verdict = verdict_of(of(adapt=adapt))
    assert verdict.at_once["tasks_at_once"] == 1
    assert verdict.slower[0].startswith("The algorithm Own draws random numbers")


def one_too_few(self, meta, support, steps):
    return list(TwoMethods.adapt(self, meta, support, steps))[1:]


def by_autograd(self, meta, support, steps):
    loss = self.objective.support_loss(meta, support)
    slopes = torch.autograd.grad(loss, list(meta.values()), create_graph=True)
    yield meta
    yield {n: p - 0.1 * g for (n, p), g in zip(meta.items(), slopes, strict=True)}


def misspelt(self, meta, episode):
    return meta["boddy.weight"].sum(), {}


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        ({"adapt": one_too_few}, "yields 1 learners .*must yield 2"),
        ({"adapt": by_autograd}, "fails in adapt: .*under torch.no_grad.*torch.func.grad"),
        ({"meta_loss": misspelt}, "fails in meta_loss: KeyError: 'boddy.weight'"),
        ({"own_parameters": lambda self: {"body.bias": torch.ones(8)}}, "both have a parameter"),
    ],
)
def test_a_mistake_in_the_algorithm_is_not_blamed_on_the_model(methods, says):
    with pytest.raises(UserError, match=f"The algorithm Own .*{says}"):
        verdict_of(of(**methods))


def test_an_algorithm_without_a_number_of_steps_is_refused():
    algorithm = of()
    del algorithm.eval_inner_steps
    with pytest.raises(UserError, match="Own has no eval_inner_steps"):
        verdict_of(algorithm)
