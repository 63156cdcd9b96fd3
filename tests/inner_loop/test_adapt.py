"""The inner loop on L(w; c) = (w - c)^2 / 2, where every value is a line of algebra."""

import pytest
import torch
from torch import nn

from metaloop.episode import Episode, Examples
from metaloop.inner_loop import ADJOINTS, Objective, StepSize, Update, adapt

THETA, ALPHA, SUPPORT = 3.0, 0.1, 1.0


class Constant(nn.Module):
    """Predicts its parameter w for every input."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(THETA, dtype=torch.float64))

    def forward(self, x):
        return self.w.expand(len(x))


def parabola() -> Objective:
    return Objective(model=Constant(), loss=lambda w, c: ((w - c) ** 2 / 2).mean())


def examples(value: float) -> Examples:
    return Examples(
        torch.zeros(1, 1, dtype=torch.float64), torch.tensor([value], dtype=torch.float64)
    )


def path(theta, steps, adjoint="unrolled"):
    return adapt(
        parabola(),
        {"w": theta},
        examples(SUPPORT),
        names=["w"],
        own={},
        update=Update([StepSize(ALPHA)]),
        adjoint=ADJOINTS[adjoint],
        steps=steps,
    )


def test_phi_k_is_gradient_descent_from_theta():
    phis = [float(phi["w"]) for phi in path(torch.tensor(THETA, dtype=torch.float64), 4)]
    by_hand = [SUPPORT + (1 - ALPHA) ** k * (THETA - SUPPORT) for k in range(5)]
    assert phis == pytest.approx(by_hand, rel=1e-14)


@pytest.mark.parametrize(
    ("adjoint", "derivative"),
    [
        ("unrolled", (1 - ALPHA) ** 3),
        ("first_order", 1.0),
    ],  # keeps or drops the Hessian, which is 1
)
def test_the_derivative_of_phi_in_theta_is_the_adjoints(adjoint, derivative):
    def last(theta):
        *_, phi = path(theta, 3, adjoint)
        return phi["w"]

    theta = torch.tensor(THETA, dtype=torch.float64)
    assert float(torch.func.grad(last)(theta)) == pytest.approx(derivative, rel=1e-14)


def test_steps_are_taken_only_when_asked_for():
    steps = path(torch.tensor(THETA, dtype=torch.float64), 1_000_000_000)
    assert float(next(steps)["w"]) == THETA
    assert float(next(steps)["w"]) == pytest.approx(THETA - ALPHA * (THETA - SUPPORT))


def normed_episode() -> tuple[nn.Module, Episode]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    episode = Episode(
        Examples(draw(6, 4), torch.tensor([0, 1, 2] * 2)),
        Examples(draw(9, 4), torch.tensor([0, 1, 2] * 3)),
        torch.arange(3),
    )
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double(), episode


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_the_norm_mode_decides_whether_query_examples_see_each_other(mode):
    model, episode = normed_episode()
    objective = Objective(model=model, loss=nn.functional.cross_entropy, norm_mode=mode)
    together = objective.predict_query(objective.meta_parameters(), episode)
    one = episode._replace(query=Examples(episode.query.inputs[:2], episode.query.targets[:2]))
    apart = objective.predict_query(objective.meta_parameters(), one)
    sees_others = not torch.allclose(together[:2], apart, rtol=1e-6)
    assert sees_others == (mode == "transductive")


def test_inductive_statistics_are_the_support_sets():
    model, episode = normed_episode()
    objective = Objective(model=model, loss=nn.functional.cross_entropy, norm_mode="inductive")
    support, query = (model[0](part.inputs) for part in (episode.support, episode.query))
    by_hand = (query - support.mean(0)) / (support.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(
        objective.predict_query(objective.meta_parameters(), episode), by_hand
    )


def test_half_precision_outputs_are_judged_in_float32():
    model = nn.Linear(4, 3).bfloat16()
    objective = Objective(model=model, loss=nn.functional.cross_entropy)
    predictions = objective.predict(objective.meta_parameters(), torch.zeros(2, 4).bfloat16())
    assert predictions.dtype == torch.float32
