"""What every algorithm keeps, and every chain of transformations with every adjoint."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from metaloop.algorithms import Algorithm, GradientBased, MultiStepLoss, SquaredDistance
from metaloop.cli.hydra_app import CONF
from metaloop.episode import Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Newton, Objective, StepSize, Update
from metaloop.inner_loop.adapt import minibatch
from metaloop.meta_gradient import adaptation_path, meta_gradient
from tests.episodes import CHAINS, RECIPES, initial_meta, objective, random_episodes, recipe
from tests.finite_difference import assert_meta_gradient_is_finite_difference
from tests.peak import Peak

OF_CLASSES = ("prototypical", "proto_maml", "pmf")  # their prototypes are means of classes


def network_of(name) -> str:
    return "conv" if name in OF_CLASSES else "mlp"


def test_every_config_has_a_recipe_here():
    assert {path.stem for path in (CONF / "algorithm").glob("*.yaml")} == set(RECIPES)


@pytest.mark.parametrize(
    ("name", "adjoint", "second_derivative", "forward_mode", "twice"),
    [
        ("maml", "unrolled", True, False, False),
        ("maml", "recomputed", True, True, True),
        ("imaml", "implicit", True, True, True),
        ("fomaml", "first_order", False, False, False),
        ("reptile", "first_order", False, False, False),
        ("prototypical", "none", False, False, False),
        ("r2d2", "none", False, False, False),
    ],
)
def test_every_algorithm_says_how_it_differentiates(
    name, adjoint, second_derivative, forward_mode, twice
):
    algorithm = recipe(name, objective("conv"), adjoint)
    assert algorithm.needs_second_derivative is second_derivative
    assert algorithm.needs_forward_mode is forward_mode
    assert algorithm.evaluates_twice is twice


def test_newtons_step_makes_any_adjoint_take_hessians_forward():
    chain = Update([Newton(1.0, 3), StepSize(0.1)])
    steps = {"inner_steps": 1, "eval_inner_steps": 1}
    algorithm = GradientBased(objective=objective(), update=chain, adjoint="first_order", **steps)
    assert algorithm.needs_second_derivative
    assert algorithm.needs_forward_mode


def test_a_users_algorithm_is_assumed_to_need_second_derivatives():
    class Own(Algorithm):
        def adapt(self, meta, support, steps):
            yield meta

        def meta_loss(self, meta, episode):
            raise NotImplementedError

    own = Own()
    assert own.needs_second_derivative
    assert not own.needs_forward_mode
    assert not own.evaluates_twice


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize(
    "name", ["maml", "anil", "boil", "cavia", "maml_plus_plus", "meta_curvature", "meta_sgd"]
)
def test_the_meta_gradient_is_the_finite_difference_of_the_meta_loss(name, network, adjoint):
    algorithm = recipe(name, objective(network, name), adjoint)
    episodes = random_episodes(network)
    meta = initial_meta(algorithm)
    assert_meta_gradient_is_finite_difference(algorithm, meta, episodes)


@pytest.mark.parametrize("name", RECIPES)
def test_chunks_change_no_number_and_float32_is_close(name):
    algorithm, episodes = recipe(name, objective("conv", name)), random_episodes("conv", tasks=5)
    meta = initial_meta(algorithm)
    whole, report = meta_gradient(algorithm, meta, episodes)
    for tasks_at_once in (1, 2):
        chunked, parts = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
        for n, value in whole.items():
            torch.testing.assert_close(chunked[n], value, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(parts["query_loss"], report["query_loss"])
    model = objective("conv", name).model.float()
    low = recipe(name, Objective(model=model, loss=F.cross_entropy))
    floats = tree_map(lambda x: x.float() if x.is_floating_point() else x, (meta, episodes))
    rough, _ = meta_gradient(low, *floats)
    size = torch.stack([g.norm() for g in whole.values()]).norm()
    for n, value in whole.items():
        assert (rough[n] - value).norm() < 1e-2 * size, n  # Adam divides by small numbers


@pytest.mark.parametrize("name", RECIPES)
def test_evaluation_adapts_as_training_does_from_theta(name):
    network = network_of(name)
    algorithm, episodes = recipe(name, objective(network, name)), random_episodes(network)
    meta = initial_meta(algorithm)
    path = adaptation_path(algorithm, meta, episodes, steps=algorithm.inner_steps)
    _, trained = meta_gradient(algorithm, meta, episodes)
    torch.testing.assert_close(path["query_loss"][:, -1], trained["query_loss"], rtol=1e-10, atol=0)
    if name in ("proto_maml", "pmf"):
        return  # their phi_0 has prototypes: tested with the fitted heads
    task = tree_map(lambda x: x[0], episodes)
    predictions = algorithm.objective.model(task.query.inputs)
    start = algorithm.objective.loss(predictions, task.query.targets)
    torch.testing.assert_close(path["query_loss"][0, 0], start.detach())


@pytest.mark.parametrize(
    ("name", "moving"),
    [
        ("anil", {"head"}),
        ("boil", {"body"}),
        ("maml", {"head", "body"}),
        ("cavia", {"context"}),
        ("prototypical", {"head"}),
        ("r2d2", {"head"}),
    ],
)
def test_only_the_named_part_adapts(name, moving):
    network = network_of(name)
    algorithm, episodes = recipe(name, objective(network, name)), random_episodes(network)
    task = tree_map(lambda x: x[0], episodes)
    first, *_, last = algorithm.adapt(initial_meta(algorithm), task.support, 2)
    names = {n for n in first if not torch.equal(first[n], last[n])}
    assert names <= set(algorithm.names)
    assert {"context" if n.endswith("context") else n.split(".")[0] for n in names} == moving


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("part", ["everything", "head", "body"])
def test_recomputed_equals_unrolled_for_every_update_part_and_multi_step_loss(chain, part):
    episodes = random_episodes("mlp", tasks=3)
    gradients = []
    for adjoint in ("unrolled", "recomputed"):
        algorithm = GradientBased(
            objective=objective(),
            update=Update(CHAINS[chain]),
            part=part,
            adjoint=adjoint,
            outer_loss=MultiStepLoss([0.2, 0.3, 0.5]),
            inner_steps=3,
            eval_inner_steps=3,
        )
        gradients.append(meta_gradient(algorithm, initial_meta(algorithm), episodes)[0])
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("chain", CHAINS)
def test_every_update_is_differentiated_exactly(chain):
    algorithm = GradientBased(
        objective=objective(), update=Update(CHAINS[chain]), inner_steps=3, eval_inner_steps=3
    )
    episodes, meta = random_episodes("mlp", tasks=2), initial_meta(algorithm)
    assert_meta_gradient_is_finite_difference(algorithm, meta, episodes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("chain", "optimizer"),
    [
        ("descent", lambda p: torch.optim.SGD(p, lr=0.1)),
        ("momentum", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.5, 0.9))),
    ],
)
def test_updates_move_as_torchs_optimizers_do(chain, optimizer):
    algorithm = GradientBased(
        objective=objective(), update=Update(CHAINS[chain]), inner_steps=4, eval_inner_steps=4
    )
    task = tree_map(lambda x: x[0], random_episodes("mlp"))
    *_, phi = algorithm.adapt(initial_meta(algorithm), task.support, 4)
    model = objective().model
    stepper = optimizer(model.parameters())
    for _ in range(4):
        stepper.zero_grad()
        F.mse_loss(model(task.support.inputs), task.support.targets).backward()
        stepper.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(phi[name], value.detach(), rtol=1e-6, atol=1e-8)


def test_steps_beyond_those_trained_reuse_the_last_learned_step_size():
    algorithm = GradientBased(
        objective=objective(),
        update=Update(CHAINS["tensor_and_step"]),
        inner_steps=2,
        eval_inner_steps=4,
    )
    meta = initial_meta(algorithm)
    assert meta["step_size.head.bias"].shape == (2,)
    task = tree_map(lambda x: x[0], random_episodes("mlp"))
    longer = {
        n: torch.cat([p, p[-1:], p[-1:]]) if n.startswith("step_size") else p
        for n, p in meta.items()
    }
    *_, short = algorithm.adapt(meta, task.support, 4)
    *_, long = algorithm.adapt(longer, task.support, 4)
    assert all(torch.equal(short[n], long[n]) for n in short)


def test_reptile_goes_from_theta_to_where_training_on_the_task_ends():
    algorithm = recipe("reptile", objective())
    episodes, meta = random_episodes("mlp"), initial_meta(algorithm)
    gradient, _ = meta_gradient(algorithm, meta, episodes)
    ends = []
    for t in range(4):
        task = tree_map(lambda x, t=t: x[t], episodes)
        *_, phi = algorithm.adapt(meta, task.support, 2)
        ends.append(phi)
    for name, theta in meta.items():
        expected = theta - torch.stack([phi[name] for phi in ends]).mean(0)
        torch.testing.assert_close(gradient[name], expected)
    other = episodes._replace(query=tree_map(lambda x: x + 1, episodes.query))
    unmoved, _ = meta_gradient(algorithm, meta, other)
    assert all(torch.equal(gradient[n], unmoved[n]) for n in gradient)  # no query set


@pytest.mark.parametrize(("examples", "size"), [(50, 10), (25, 5), (20, 7), (6, 5)])
def test_minibatches_go_round_through_all_examples_and_spread_over_the_classes(examples, size):
    numbers = torch.arange(examples)
    support = Examples(numbers, numbers)
    seen = torch.cat([minibatch(support, size, step).inputs for step in range(examples)])
    assert torch.equal(seen.bincount(), torch.full((examples,), size))
    first = minibatch(support, size, 0).inputs
    assert first.max() - first.min() >= examples * (size - 1) // size - size


def test_a_minibatch_as_large_as_the_support_set_is_the_support_set():
    support = Examples(torch.arange(4), torch.arange(4))
    assert minibatch(support, 9, 3) is support


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        (
            {"part": "tail"},
            "part=tail is unknown. Choices: everything, head, body, context, match:",
        ),
        ({"part": "match:nothing"}, "part=match:nothing matches none of the model's learned"),
        ({"outer_loss": MultiStepLoss([1.0])}, "one weight for each of the 2 inner steps, not 1"),
        ({"outer_loss": SquaredDistance()}, "adjoint=unrolled would have no effect"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_with_the_reason(pieces, says):
    with pytest.raises(UserError, match=says):
        GradientBased(
            objective=objective(),
            update=Update([StepSize(0.1)]),
            inner_steps=2,
            eval_inner_steps=2,
            **pieces,
        )


def test_a_model_without_a_head_is_refused_for_anil_with_the_remedy():
    headless = Objective(model=nn.Sequential(nn.Linear(1, 2), nn.Linear(2, 1)), loss=F.mse_loss)
    for name in ("anil", "boil"):
        with pytest.raises(UserError, match="Name the model's last layer `head`"):
            recipe(name, headless)


def test_recomputed_keeps_no_graph_of_a_step():
    episodes = random_episodes("conv", tasks=2)

    def peak(adjoint, steps):
        algorithm = GradientBased(
            objective=objective("conv"),
            update=Update([StepSize(0.1)]),
            adjoint=adjoint,
            inner_steps=steps,
            eval_inner_steps=steps,
        )
        meta = initial_meta(algorithm)
        with Peak() as mode:
            meta_gradient(algorithm, meta, episodes)
        return mode.largest

    growth = {
        adjoint: peak(adjoint, 12) - peak(adjoint, 2) for adjoint in ("unrolled", "recomputed")
    }
    parameters = sum(p.nbytes for p in initial_meta(recipe("maml", objective("conv"))).values())
    # a copy of the adapted parameters and of their gradient a step and task, and nothing more
    assert growth["recomputed"] <= 10 * 2 * 2 * parameters * 1.1
    assert growth["recomputed"] < 0.3 * growth["unrolled"]
