"""What each algorithm's paper says of it, derived by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import (
    AnnealedMultiStepLoss,
    GradientBased,
    MultiStepLoss,
    Prototypical,
    QueryLoss,
    SquaredDistance,
    maml,
    pretrain,
)
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, StepSize, Update
from metaloop.meta_gradient import adaptation_path, meta_gradient
from metaloop.models import MLP, Conv4
from tests.episodes import CLASSES, drawer, initial_meta, named, random_episodes, recipe


def classifier(norm=nn.BatchNorm2d) -> Objective:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=3), norm(4), nn.Tanh(), nn.Flatten())
    return Objective(model=named(body, nn.Linear(64, 3)).double(), loss=F.cross_entropy)


def first_task(episodes) -> Episode:
    return tree_map(lambda x: x[0], episodes)


# MAML++: Antoniou et al. 2019, the authors' get_per_step_loss_importance_vector, by hand


def test_multi_step_weights_start_equal_and_move_to_the_last_step_epoch_by_epoch():
    annealed = AnnealedMultiStepLoss(inner_steps=5, epochs=10, epoch_steps=500)
    assert annealed.at(0).weights == pytest.approx([0.2] * 5)
    assert annealed.at(499).weights == annealed.at(0).weights
    # an epoch takes 1/5/10 = 0.02 from each of the first four and gives it to the last
    assert annealed.at(500).weights == pytest.approx([0.18] * 4 + [0.28])
    assert annealed.at(9 * 500).weights == pytest.approx([0.02] * 4 + [0.92])
    assert isinstance(annealed.at(10 * 500), QueryLoss)
    # no step's weight falls below 0.03 / 5 before the end
    assert AnnealedMultiStepLoss(5, 100, 1).at(98).weights[0] == pytest.approx(0.006)


def test_derivative_order_annealing_is_first_order_and_then_exact():
    objective, episodes = classifier(), random_episodes("conv")
    pieces = {"objective": objective, "update": Update([StepSize(0.1)])}
    steps = {"inner_steps": 2, "eval_inner_steps": 2}
    annealed = GradientBased(**pieces, **steps, first_order_steps=100)
    meta = initial_meta(annealed)
    for step, adjoint in ((0, "first_order"), (99, "first_order"), (100, "unrolled")):
        plain = GradientBased(**pieces, **steps, adjoint=adjoint)
        expected, _ = meta_gradient(plain, meta, episodes)
        found, _ = meta_gradient(annealed.at(step), meta, episodes)
        assert all(torch.equal(found[n], expected[n]) for n in expected)


def test_schedules_are_functions_of_the_step_alone():
    algorithm = recipe("maml_plus_plus", classifier())
    late_then_early = algorithm.at(15).at(3)
    assert algorithm.at(3).outer_loss == MultiStepLoss((0.5, 0.5))
    assert algorithm.at(10).outer_loss == MultiStepLoss((0.25, 0.75))
    assert isinstance(algorithm.at(20).outer_loss, QueryLoss)
    assert algorithm.at(5) == algorithm.at(5)
    assert late_then_early.outer_loss == algorithm.at(15).outer_loss  # frozen once it is at a step


def test_every_step_has_its_own_scale_and_shift_which_do_not_adapt():
    algorithm, episodes = recipe("maml_plus_plus", classifier()), random_episodes("conv")
    meta, name = initial_meta(algorithm), "body.1.weight"
    rows = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)[:, None].expand(3, 4)
    assert meta[f"per_step.{name}"].shape == rows.shape  # phi_0, phi_1, phi_2
    meta[f"per_step.{name}"] = rows
    phis = list(algorithm.adapt(meta, first_task(episodes).support, 4))
    assert [float(phi[name][0]) for phi in phis] == [1, 2, 3, 3, 3]  # steps beyond take the last
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    assert torch.equal(gradient[name], torch.zeros_like(gradient[name]))
    assert (gradient[f"per_step.{name}"].norm(dim=1) > 0).all()


def test_a_parameter_without_a_gradient_is_refused():
    pieces = {"objective": classifier(), "update": Update([StepSize(0.1)])}
    with pytest.raises(UserError, match=r"per_step\.body\.1\.weight .* would never be learned"):
        GradientBased(
            **pieces,
            inner_steps=2,
            eval_inner_steps=2,
            outer_loss=SquaredDistance(),
            adjoint="first_order",
            per_step_norm=True,
        )


# Meta-Curvature: Park and Oliva 2019, eq. 10


def test_meta_curvature_starts_as_maml():
    episodes = random_episodes("conv")
    curved, plain = recipe("meta_curvature", classifier()), recipe("maml", classifier())
    found, _ = meta_gradient(curved, initial_meta(curved), episodes)
    expected, _ = meta_gradient(plain, initial_meta(plain), episodes)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-14)


def test_curvature_multiplies_along_every_mode():
    algorithm, episodes = recipe("meta_curvature", classifier()), random_episodes("conv")
    meta, draw = initial_meta(algorithm), drawer(4)
    name, task = "body.0.weight", first_task(episodes)
    out, into, kernel = (f"curvature.{name}.{mode}" for mode in range(3))
    assert [len(meta[m]) for m in (out, into, kernel)] == [4, 1, 9]
    meta |= {m: draw(*meta[m].shape) for m in (out, into, kernel)}
    _, moved = list(algorithm.adapt(meta, task.support, 1))
    theta = {n: p for n, p in meta.items() if not n.startswith("curvature")}
    gradient = torch.func.grad(algorithm.objective.support_loss)(theta, task.support)[name]
    turned = torch.einsum(
        "oif,po,qi,rf->pqr", gradient.flatten(2), meta[out], meta[into], meta[kernel]
    )
    expected = meta[name] - 0.05 * turned.reshape(4, 1, 3, 3)
    torch.testing.assert_close(moved[name], expected)


# CAVIA: Zintgraf et al. 2019


@pytest.mark.parametrize(
    "model",
    [
        lambda: MLP(1, 1, hidden=[5], context_size=3),
        lambda: Conv4((1, 12, 12), 3, filters=4, downsample="stride", context_size=3),
    ],
)
def test_the_context_adapts_from_zero_and_is_never_learned(model):
    torch.manual_seed(0)
    model = model().double()
    network = "mlp" if isinstance(model, MLP) else "conv"
    loss = F.mse_loss if network == "mlp" else F.cross_entropy
    algorithm = recipe("cavia", Objective(model=model, loss=loss))
    meta, episodes = initial_meta(algorithm), random_episodes(network)
    (name,) = algorithm.names
    first, _, last = algorithm.adapt(meta, first_task(episodes).support, 2)
    assert torch.equal(first[name], torch.zeros(3, dtype=torch.float64))
    assert (last[name] != 0).all()
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    assert torch.equal(gradient[name], torch.zeros_like(gradient[name]))
    assert all(g.any() for n, g in gradient.items() if n != name)


def test_a_model_that_declares_no_context_is_refused_with_the_remedy():
    with pytest.raises(UserError, match=r"part=context matches none.*Set model\.context_size"):
        recipe("cavia", Objective(model=MLP(1, 1, hidden=[5]), loss=F.mse_loss))


# Prototypical networks: Snell et al. 2017, eq. 2


def test_a_prototypical_learner_is_a_softmax_over_distances_to_class_means():
    algorithm, episodes = Prototypical(classifier()), random_episodes("conv")
    meta, task = initial_meta(algorithm), first_task(episodes)
    uneven = Examples(task.support.inputs[:4], task.support.targets[:4])  # 2, 1, 1 shots
    _, phi = algorithm.adapt(meta, uneven, 1)
    body = algorithm.objective.model.body
    embedded, queries = body(uneven.inputs), body(task.query.inputs)
    means = torch.stack([embedded[uneven.targets == n].mean(0) for n in range(3)])
    distances = torch.cdist(queries, means).square()
    found = algorithm.objective.predict_query(phi, task)
    torch.testing.assert_close(found.softmax(1), (-distances).softmax(1))


def test_its_meta_gradient_is_that_of_the_distances():
    algorithm, episodes = Prototypical(classifier()), random_episodes("conv", tasks=2)
    body, losses = algorithm.objective.model.body, []
    for t in range(2):
        support, query = (tree_map(lambda x, t=t: x[t], e) for e in episodes[:2])
        embedded, queries = body(support.inputs), body(query.inputs)
        means = torch.stack([embedded[support.targets == n].mean(0) for n in range(3)])
        losses.append(F.cross_entropy(-torch.cdist(queries, means).square(), query.targets))
    torch.stack(losses).mean().backward()
    gradient, _ = meta_gradient(algorithm, initial_meta(algorithm), episodes)
    for name, p in body.named_parameters():
        torch.testing.assert_close(gradient[f"body.{name}"], p.grad, rtol=1e-9, atol=1e-12)


def test_prototypes_of_numbers_or_without_a_linear_head_are_refused():
    objective = Objective(model=MLP(1, 1, hidden=[5]).double(), loss=F.mse_loss)
    algorithm, task = Prototypical(objective), first_task(random_episodes("mlp"))
    with pytest.raises(UserError, match="Prototypes are means of classes"):
        list(algorithm.adapt(initial_meta(algorithm), task.support, 1))
    headless = Objective(model=nn.Sequential(nn.Linear(1, 2)), loss=F.cross_entropy)
    with pytest.raises(UserError, match=r"the model's `head`.*it is none\. Name the model's last"):
        Prototypical(headless)


# Pretraining: Finn et al. 2017, section 5.1


def test_pretraining_on_classes_trains_one_head_for_all_global_ids():
    algorithm = recipe("pretrain", classifier(norm=nn.Identity))
    episodes, meta = random_episodes("conv", tasks=2), initial_meta(algorithm)
    body, fresh = algorithm.objective.model.body, nn.Linear(64, CLASSES).double()
    fresh.weight.data, fresh.bias.data = meta["all_classes.weight"], meta["all_classes.bias"]
    losses = []
    for t in range(2):
        images = torch.cat([episodes.support.inputs[t], episodes.query.inputs[t]])
        labels = torch.cat([episodes.support.targets[t], episodes.query.targets[t]])
        losses.append(F.cross_entropy(fresh(body(images)), episodes.classes[t][labels]))
    torch.stack(losses).mean().backward()
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    torch.testing.assert_close(gradient["all_classes.weight"], fresh.weight.grad)
    torch.testing.assert_close(gradient["body.0.weight"], body[0].weight.grad)
    assert not gradient["head.weight"].any()  # the fresh head of every test task stays as it was


def test_pretraining_on_numbers_fits_one_network_to_all_tasks():
    objective = Objective(model=MLP(1, 1, hidden=[5]).double(), loss=F.mse_loss)
    algorithm, episodes = recipe("pretrain", objective), random_episodes("mlp", tasks=2)
    support, query = episodes.support, episodes.query
    inputs = torch.cat([support.inputs, query.inputs], 1).flatten(0, 1)
    targets = torch.cat([support.targets, query.targets], 1).flatten(0, 1)
    F.mse_loss(objective.model(inputs), targets).backward()
    gradient, _ = meta_gradient(algorithm, initial_meta(algorithm), episodes)
    for name, p in objective.model.named_parameters():
        torch.testing.assert_close(gradient[name], p.grad, rtol=1e-9, atol=1e-12)


def test_pretraining_fine_tunes_as_maml_adapts():
    objective, episodes = classifier(), random_episodes("conv")
    algorithm = recipe("pretrain", objective)
    values = {"inner_lr": 0.05, "inner_steps": 2, "eval_inner_steps": 3, "adjoint": "unrolled"}
    plain = maml(objective, **values)
    meta = initial_meta(algorithm)
    found, expected = (adaptation_path(a, meta, episodes, steps=3) for a in (algorithm, plain))
    assert torch.equal(found["query_loss"], expected["query_loss"])


def test_pretraining_without_the_number_of_classes_is_refused():
    algorithm = pretrain(
        classifier(), classes=0, inner_lr=0.1, inner_steps=1, eval_inner_steps=1, part="everything"
    )
    with pytest.raises(UserError, match="an attribute `classes`"):
        meta_gradient(algorithm, initial_meta(algorithm), random_episodes("conv"))
