"""Inputs of several tensors: every way to compute is plain autograd's, task by task."""

import pytest
import torch
from torch.nn import functional as F

from metaloop.algorithms import maml
from metaloop.episode import Episode
from metaloop.errors import UserError
from metaloop.inner_loop import Objective
from metaloop.meta_gradient import AtOnce, check_draw, meta_gradient, preflight_check
from metaloop.meta_gradient.compiled import CompiledChunkGradient
from metaloop.tasks import RandomStreams
from tests.conftest import needs_compiler
from tests.episodes import RECIPES, recipe
from tests.named import Mixed, Reader

ALPHA, STEPS = 0.3, 2
EVERY_WAY = {
    "vectorised": {"tasks_at_once": "all"},
    "two at a time": {"tasks_at_once": 2},
    "one by one": {"tasks_at_once": 1},
    "side by side": {"tasks_at_once": 1, "chunks_at_once": 2},
    "by size": {"tasks_at_once": "by_size", "chunks_at_once": "by_size"},
}


def episodes(tasks=3, dtype=torch.float64):
    task = Mixed()
    drawn = task.draw("train", RandomStreams(0, "train", torch.arange(tasks)))
    return task.gather(drawn, dtype)


def objective(norm=False, norm_mode="transductive"):
    torch.manual_seed(0)
    model = Reader(norm=norm).double()
    return Objective(model=model, loss=F.cross_entropy, norm_mode=norm_mode)


def make_maml(of=None, adjoint="unrolled"):
    return maml(
        of or objective(),
        inner_lr=ALPHA,
        inner_steps=STEPS,
        eval_inner_steps=STEPS,
        adjoint=adjoint,
    )


def plain_meta_gradient(model, tasks):
    """MAML by plain autograd, a loop over tasks, the network called by name."""
    theta = dict(model.named_parameters())

    def loss(phi, inputs, targets):
        return F.cross_entropy(torch.func.functional_call(model, phi, (), inputs), targets)

    total = 0.0
    for t in range(len(tasks.classes)):
        (support, support_targets), (query, query_targets) = (
            ({n: x[t] for n, x in part.inputs.items()}, part.targets[t])
            for part in (tasks.support, tasks.query)
        )
        phi = theta
        for _ in range(STEPS):
            slopes = torch.autograd.grad(
                loss(phi, support, support_targets), list(phi.values()), create_graph=True
            )
            phi = {n: p - ALPHA * g for (n, p), g in zip(phi.items(), slopes, strict=True)}
        total = total + loss(phi, query, query_targets) / len(tasks.classes)
    return dict(zip(theta, torch.autograd.grad(total, list(theta.values())), strict=True))


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_a_meta_gradient_of_named_inputs_is_that_of_plain_autograd(way, adjoint):
    torch.set_num_threads(2)
    algorithm, tasks = make_maml(adjoint=adjoint), episodes()
    model = algorithm.objective.model
    found, _ = meta_gradient(
        algorithm, algorithm.objective.meta_parameters(), tasks, **EVERY_WAY[way]
    )
    for name, expected in plain_meta_gradient(model, tasks).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["transductive", "inductive", "support_plus_one"])
def test_norms_see_the_rows_of_all_tensors_in_every_mode(mode):
    algorithm, tasks = make_maml(objective(norm=True, norm_mode=mode)), episodes()
    theta = {n: p.detach() for n, p in algorithm.objective.meta_parameters().items()}
    task = Episode(*(part.map(lambda t: t[0]) for part in tasks[:2]), tasks.classes[0])
    found = algorithm.objective.predict_query(theta, task)
    model = algorithm.objective.model
    joined = {n: torch.cat([x, task.query.inputs[n]]) for n, x in task.support.inputs.items()}
    seen = len(task.support.targets)

    def hidden(rows):
        read = model.embedding(joined["words"][rows]).mean(-2)
        return model.body(torch.cat([joined["numbers"][rows], read], -1))

    for row in range(len(found)):
        own = {
            "transductive": list(range(seen, seen + len(found))),
            "inductive": list(range(seen)),
            "support_plus_one": [*range(seen), seen + row],
        }[mode]
        measured, one = hidden(own), hidden([seen + row])
        scale = (measured.var(0, correction=0) + model.norm.eps).rsqrt()
        expected = model.head(torch.tanh((one - measured.mean(0)) * scale))[0]
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-12)


def verdict(algorithm, tasks, task=None):
    meta = {**algorithm.objective.meta_parameters(), **algorithm.own_parameters()}
    at_once = AtOnce(tasks_at_once="all", chunks_at_once=2)
    return preflight_check(algorithm, meta, tasks, at_once, task=task)


def test_the_check_finds_named_inputs_exact_in_every_way():
    torch.set_num_threads(2)
    check_draw(Mixed(), 0, "train")
    found = verdict(make_maml(), episodes(), Mixed())
    assert [one.is_exact for one in found.tried] == [True] * 3
    assert found.at_once == {"tasks_at_once": "all", "chunks_at_once": 2}


@pytest.mark.parametrize("name", [n for n in RECIPES if n not in ("maml", "cavia")])
def test_every_algorithm_takes_named_inputs(name):
    of = objective(norm=True) if name == "pretrain" else objective()
    found = verdict(recipe(name, of), episodes())
    assert all(one.is_exact for one in found.tried)


def changed(**tensors):
    """Episodes whose support inputs are others."""
    tasks = episodes()
    return tasks._replace(
        support=tasks.support._replace(inputs={**tasks.support.inputs, **tensors})
    )


WRONG = {
    r"inputs\['numbers'\] holds nan": {"numbers": torch.full((3, 6, 2), torch.nan).double()},
    r"support has 5 inputs and 6 targets": {"words": torch.zeros(3, 5, 4, dtype=torch.int64)},
    r"words \[3\], numbers \[2\], but the task's input_shapes is words \[4\]": {
        "words": torch.zeros(3, 6, 3, dtype=torch.int64)
    },
    r"support.inputs\['more'\] has the shape \[3\] for 3 tasks": {"more": torch.zeros(3)},
    r"more \[1\], but the task's input_shapes is": {"more": torch.zeros(3, 6, 1)},
}


@pytest.mark.parametrize("says", WRONG)
def test_named_inputs_that_do_not_fit_the_task_are_refused_by_name(says):
    with pytest.raises(UserError, match=says):
        verdict(make_maml(), changed(**WRONG[says]), Mixed())


class InPlace(Reader):
    def forward(self, numbers, words):
        return super().forward(numbers.mul_(0.5), words)


class Others(Reader):
    def forward(self, numbers, sentence):
        return super().forward(numbers, sentence)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (InPlace(), r"InPlace changes the task's numbers in place"),
        (
            Others(),
            r"Others fails on a task's support inputs words \[6, 4\] int64, numbers \[6, 2\]",
        ),
    ],
)
def test_a_network_that_does_not_fit_named_inputs_is_refused(model, says):
    of = Objective(model=model.double(), loss=F.cross_entropy)
    with pytest.raises(UserError, match=says):
        verdict(make_maml(of), episodes(), Mixed())


@needs_compiler
@pytest.mark.slow
def test_named_inputs_are_compiled_too():
    algorithm, tasks = make_maml(), episodes()
    theta = algorithm.objective.meta_parameters()
    of_chunk = CompiledChunkGradient()
    found, _ = meta_gradient(algorithm, theta, tasks, of_chunk=of_chunk)
    assert of_chunk.is_used
    for name, expected in plain_meta_gradient(algorithm.objective.model, tasks).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-12)
