"""Tasks of several shapes have the mean of their meta-gradients, each of its own classes."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from metaloop.episode import Episode, Examples
from metaloop.meta_gradient import adaptation_path, meta_gradient, preflight_check
from metaloop.tasks.metric import accuracy
from tests.episodes import CLASSES, RECIPES, drawer, initial_meta, objective, recipe

# of each group: tasks, the shots of each class, queries of each
GROUPS = [(3, [1, 1], 2), (1, [2, 1, 3], 1), (2, [2, 2, 2], 2)]


def group(tasks, shots, queries, seed) -> Episode:
    draw = drawer(seed)
    ways = torch.arange(len(shots))
    labels = ways.repeat_interleave(torch.tensor(shots)), ways.repeat_interleave(queries)
    parts = [Examples(draw(tasks, len(n), 1, 12, 12), n.repeat(tasks, 1)) for n in labels]
    classes = torch.stack([(ways + t) % CLASSES for t in range(tasks)])
    return Episode(*parts, classes)


EPISODES = [group(*sizes, seed) for seed, sizes in enumerate(GROUPS)]


def case(name, **norms):
    """A recipe over episodes of up to three classes, and its parameters away from their start."""
    made = objective("conv", name, **norms)
    algorithm = recipe(name, replace(made, metrics={"accuracy": accuracy}, ways=3))
    draw = drawer(9)
    meta = {n: p + 0.05 * draw(*p.shape) for n, p in initial_meta(algorithm).items()}
    return algorithm, meta


def plain(algorithm, meta):
    """A loop over the tasks by autograd alone, its losses cut to the classes by hand."""
    total = {name: torch.zeros_like(p) for name, p in meta.items()}
    losses = []
    for episodes in EPISODES:
        ways = episodes.classes.shape[1]

        def loss(predictions, labels, ways=ways):
            # a head over all classes, of pretraining, is judged whole
            outputs = predictions.shape[-1]
            return F.cross_entropy(predictions[:, : ways if outputs == 3 else outputs], labels)

        judged = replace(algorithm.objective, loss=loss, metrics={}, ways=None)
        of_ways = algorithm.judged_by(judged)
        for t in range(len(episodes.classes)):
            task = pytree.tree_map(lambda x, t=t: x[t], episodes)
            leaves = {n: p.detach().requires_grad_() for n, p in meta.items()}
            value, report = of_ways.meta_loss(leaves, task)
            losses.append(float(report["query_loss"]))
            found = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
            total = {n: g + f / 6 for (n, g), f in zip(total.items(), found, strict=True)}
    return total, losses


@pytest.mark.parametrize("name", RECIPES)
def test_the_meta_gradient_is_that_of_a_loop_over_the_tasks(name):
    algorithm, meta = case(name)
    expected, losses = plain(algorithm, meta)
    for ways in ({}, {"tasks_at_once": 2}, {"tasks_at_once": 1, "chunks_at_once": 2}):
        found, report = meta_gradient(algorithm, meta, EPISODES, **ways)
        assert report["query_loss"].tolist() == pytest.approx(losses, rel=1e-9)
        for n, value in expected.items():
            torch.testing.assert_close(found[n], value, rtol=1e-9, atol=1e-11)


def test_logits_of_absent_classes_have_no_effect_and_are_never_predicted():
    algorithm, meta = case("maml")
    (few, *_) = EPISODES
    louder = {**meta, "head.bias": meta["head.bias"] + torch.tensor([0.0, 0.0, 50.0])}
    reports = [
        adaptation_path(algorithm, m, few, steps=2, with_answers=True) for m in (meta, louder)
    ]
    for name in ("query_loss", "accuracy", "support_loss", "support_accuracy", "answers"):
        torch.testing.assert_close(reports[0][name], reports[1][name], rtol=1e-9, atol=0)
    assert int(reports[1]["answers"].max()) < 2
    gradient, _ = meta_gradient(algorithm, meta, few)
    assert not gradient["head.weight"][2].any()


def test_an_ensemble_averages_the_probabilities_of_present_classes():
    algorithm, meta = case("maml")
    (few, *_) = EPISODES
    members = [meta, {**meta, "head.bias": meta["head.bias"] + torch.tensor([0.5, 0.0, 9.0])}]
    found = adaptation_path(algorithm, members, few, steps=0)["query_loss"][0, 0]
    task = pytree.tree_map(lambda x: x[0], few)
    outputs = [algorithm.objective.predict(m, task.query.inputs)[:, :2] for m in members]
    mean = torch.stack([o.softmax(1) for o in outputs]).mean(0)
    by_hand = -mean[range(4), task.query.targets].log().mean()
    torch.testing.assert_close(found, by_hand.detach())


def test_the_check_covers_the_smallest_and_the_largest_shape():
    algorithm, meta = case("maml")
    at_once = {"tasks_at_once": "all", "chunks_at_once": 1}
    seen = []

    def loss(predictions, labels):
        seen.append(tuple(predictions.shape[-2:]))
        return F.cross_entropy(predictions, labels)

    watched = algorithm.judged_by(replace(algorithm.objective, loss=loss))
    verdict = preflight_check(watched, meta, EPISODES, at_once)
    assert verdict.at_once == at_once
    assert {(2, 2), (6, 3)} <= set(seen)  # support examples, classes
