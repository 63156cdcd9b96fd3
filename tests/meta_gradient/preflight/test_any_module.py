"""Any nn.Module is a learner: what it is made of works exactly, or is refused by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from metaloop.algorithms import GradientBased
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Update
from metaloop.meta_gradient import meta_gradient
from tests.episodes import (
    CHAINS,
    drawer,
    exact_tasks_at_once,
    initial_meta,
    random_episodes,
    recipe,
)

EXACT = [(a, t) for a in ("unrolled", "recomputed") for t in (1, "all")]
every_exact_way = pytest.mark.parametrize(("adjoint", "tasks_at_once"), EXACT)


class Layers(nn.Module):
    """A model of these layers; the rule says what its forward pass does with them."""

    def __init__(self, rule, **layers):
        super().__init__()
        self.rule = rule
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.rule(self, x)


def objective(model: nn.Module) -> Objective:
    """The model in float64 with fixed weights."""
    draw = drawer(3)
    with torch.no_grad():
        for p in model.double().parameters():
            p.copy_(0.5 * draw(*p.shape))
    return Objective(model=model, loss=F.mse_loss)


def head_of_body(model, x):
    return model.head(torch.tanh(model.body(x)))


def chain_of(name, model, adjoint="unrolled", part="everything", steps=2) -> GradientBased:
    pieces = {"part": part, "adjoint": adjoint, "inner_steps": steps, "eval_inner_steps": steps}
    return GradientBased(objective=objective(model), update=Update(CHAINS[name]), **pieces)


def is_checked(algorithm, tasks_at_once="all"):
    episodes = random_episodes("mlp", tasks=3)
    return exact_tasks_at_once(algorithm, initial_meta(algorithm), episodes, tasks_at_once)


def assert_exact(algorithm, tasks_at_once):
    """The meta-gradient is the slope of the mean query loss at phi_K; the same chance each time."""
    episodes, meta = random_episodes("mlp", tasks=3), initial_meta(algorithm)
    assert is_checked(algorithm, tasks_at_once) == tasks_at_once

    def at(meta):
        torch.manual_seed(5)
        gradient, report = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
        return gradient, report["query_loss"].mean()

    gradient, draw, step = at(meta)[0], drawer(2), 1e-6
    direction = {n: draw(*p.shape) for n, p in meta.items()}
    up, down = (at({n: p + s * direction[n] for n, p in meta.items()})[1] for s in (step, -step))
    expected = sum((gradient[n] * d).sum() for n, d in direction.items())
    torch.testing.assert_close(expected, (up - down) / (2 * step), rtol=1e-6, atol=1e-8)
    return gradient


def tied(same_module: bool = False) -> nn.Module:
    a, b, c = nn.Linear(1, 4), nn.Linear(4, 4), nn.Linear(4, 4)
    c.weight = b.weight
    return nn.Sequential(a, nn.Tanh(), b, nn.Tanh(), b if same_module else c, nn.Linear(4, 1))


def autoencoder() -> nn.Module:
    """Its head decodes with the weight that its body encodes with; one name for the two."""
    model = Layers(head_of_body, body=nn.Linear(1, 1), head=nn.Linear(1, 1))
    model.head.weight = model.body.weight
    return model


@every_exact_way
@pytest.mark.parametrize("name", ["maml", "meta_sgd"])
@pytest.mark.parametrize("model", [tied, lambda: tied(same_module=True), autoencoder])
def test_a_shared_parameter_adapts_as_one_and_exactly(model, name, adjoint, tasks_at_once):
    algorithm = recipe(name, objective(model()), adjoint)
    before = list(algorithm.objective.model.parameters())
    gradient = assert_exact(algorithm, tasks_at_once)
    assert len([n for n in gradient if "step_size" not in n]) == len(before)
    after = list(algorithm.objective.model.parameters())
    assert [id(p) for p in before] == [id(p) for p in after]  # torch's functional_call fails here


def one_example(support, query) -> Episode:
    x, y, u, v = torch.tensor([*support, *query], dtype=torch.float64).view(4, 1, 1, 1)
    return Episode(Examples(x, y), Examples(u, v), torch.zeros(1, 0))


@every_exact_way
def test_a_weight_used_twice_has_the_meta_gradient_of_the_square(adjoint, tasks_at_once):
    # f(x) = w^2 x on x = 1, L = (w^2 - y)^2; phi = w - a 4w(w^2 - s), dL_query/dw by the chain rule
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    algorithm = chain_of("descent", model, adjoint, steps=1)
    w, s, q = 0.7, 2.0, 3.0
    meta = {"0.weight": torch.full((1, 1), w, dtype=torch.float64)}
    episodes = one_example((1.0, s), (1.0, q))
    gradient, _ = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
    phi = w - 0.1 * 4 * w * (w**2 - s)
    expected = 4 * phi * (phi**2 - q) * (1 - 0.1 * (12 * w**2 - 4 * s))
    assert float(gradient["0.weight"]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["anil", "boil"])
def test_a_weight_shared_by_head_and_body_is_not_split_between_them(name):
    says = r"part=\w+ would split .*body.weight and head.weight.*match:REGEX"
    with pytest.raises(UserError, match=says):
        is_checked(recipe(name, objective(autoencoder())))


def test_an_expression_has_to_find_every_name_of_a_shared_parameter():
    with pytest.raises(UserError, match=r"contains only head.weight"):
        is_checked(chain_of("descent", autoencoder(), part=r"match:^head\."))
    both = chain_of("descent", autoencoder(), part=r"match:(^head\.|weight)")
    assert set(both.names) == {"body.weight", "head.bias"}
    assert_exact(both, "all")


def small(*frozen: str) -> nn.Module:
    model = Layers(head_of_body, body=nn.Linear(1, 4), head=nn.Linear(4, 1))
    for name, p in model.named_parameters():
        p.requires_grad_(not name.startswith(frozen))
    return model


@every_exact_way
@pytest.mark.parametrize("name", ["maml", "anil", "meta_sgd"])
def test_frozen_parameters_are_constants(name, adjoint, tasks_at_once):
    algorithm = recipe(name, objective(small("body.weight", "head.bias")), adjoint)
    weight = algorithm.objective.model.body.weight
    before = weight.clone()
    gradient = assert_exact(algorithm, tasks_at_once)
    assert not [n for n in gradient if n.endswith(("body.weight", "head.bias"))]
    assert torch.equal(weight, before)
    weight.add_(1)  # it is used, though: another constant is another meta-gradient
    moved = assert_exact(algorithm, tasks_at_once)
    assert not torch.allclose(moved["body.bias"], gradient["body.bias"])


def test_a_part_that_is_frozen_altogether_is_refused():
    for name, frozen in (("anil", "head"), ("boil", "body")):
        with pytest.raises(UserError, match="learned parameters .*do not freeze all"):
            recipe(name, objective(small(frozen)))
    with pytest.raises(UserError, match="if it is frozen, .*part=everything"):
        recipe("boil", objective(small("head")))
    with pytest.raises(UserError, match="Change the expression, or unfreeze the parameters"):
        chain_of("descent", small("head"), part="match:head")


def test_a_model_with_nothing_to_learn_is_refused():
    for model in (nn.Sequential(nn.Flatten()), nn.Linear(1, 1).requires_grad_(False)):
        for name in ("maml", "anil", "reptile"):
            with pytest.raises(UserError, match="this model has none that is learned"):
                recipe(name, objective(model))


@every_exact_way
def test_buffers_are_constants_kept_as_they_are(adjoint, tasks_at_once):
    layers = {"body": nn.Linear(1, 4), "head": nn.Linear(4, 1)}
    model = Layers(
        lambda m, x: m.head(torch.tanh(m.body(x * m.scale + m.shift)[..., m.order])), **layers
    )
    model.register_buffer("scale", torch.tensor(1.5))
    model.register_buffer("shift", torch.tensor([0.5]), persistent=False)
    model.register_buffer("order", torch.tensor([2, 0, 3, 1]))
    assert_exact(recipe("maml", objective(model), adjoint), tasks_at_once)
    assert (model.scale.tolist(), model.shift.tolist()) == (1.5, [0.5])
    assert model.order.tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_a_buffer_that_is_replaced_in_the_forward_pass_is_refused_by_name(adjoint):
    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1 * x.mean(0)  # no error of torch's when task by task
        return self.layer(x - self.mean)

    model = Layers(forward, layer=nn.Linear(1, 1))
    model.register_buffer("mean", torch.zeros(1))
    with pytest.raises(UserError, match="Layers changes mean in its forward pass"):
        is_checked(recipe("maml", objective(model), adjoint), 1)


def test_spectral_norm_is_refused_while_it_iterates_and_exact_at_rest():
    layer = parametrizations.spectral_norm(nn.Linear(4, 3))
    model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), layer, nn.Linear(3, 1))
    algorithm = recipe("maml", objective(model))
    with pytest.raises(UserError, match=r"changes 2\.parametrizations\.weight\.0\._u.*eval\(\)"):
        is_checked(algorithm)
    layer.eval()
    assert_exact(algorithm, "all")


def layer_dropout(p=0.3) -> nn.Module:
    return nn.Sequential(nn.Linear(1, 8), nn.Dropout(p), nn.Tanh(), nn.Linear(8, 1))


def function_dropout() -> nn.Module:
    layers = {"body": nn.Linear(1, 8), "head": nn.Linear(8, 1)}
    return Layers(lambda m, x: m.head(F.dropout(m.body(x).tanh(), 0.3, m.training)), **layers)


@pytest.mark.parametrize("tasks_at_once", [1, "all"])
@pytest.mark.parametrize("model", [layer_dropout, function_dropout])
def test_dropout_is_exact_for_the_masks_drawn_and_a_seed_repeats_them(model, tasks_at_once):
    algorithm = recipe("maml", objective(model()))
    name = "0.weight" if model is layer_dropout else "body.weight"
    first, again = (assert_exact(algorithm, tasks_at_once)[name] for _ in range(2))
    torch.manual_seed(6)
    other, _ = meta_gradient(algorithm, initial_meta(algorithm), random_episodes("mlp", 3))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other[name])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("model", "where"), [(layer_dropout, r"1 \(Dropout\)"), (function_dropout, "its forward pass")]
)
def test_random_models_are_refused_if_steps_are_recomputed(model, where, training):
    algorithm = recipe("maml", objective(model().train(training)), "recomputed")
    nn.init.zeros_(list(algorithm.objective.model.parameters())[-2])  # a head at zero hides nothing
    chance = torch.get_rng_state()
    with pytest.raises(UserError, match=f"random numbers in {where}.*algorithm.adjoint=unrolled"):
        is_checked(algorithm, 1)
    assert torch.equal(torch.get_rng_state(), chance)
    assert algorithm.objective.model.training == training
    assert_exact(recipe("maml", objective(layer_dropout(p=0.0)), "recomputed"), "all")


@every_exact_way
@pytest.mark.parametrize("chain", ["descent", "momentum", "adam", "element"])
def test_parameters_that_the_loss_does_not_reach_have_gradient_zero(chain, adjoint, tasks_at_once):
    model = small()
    model.idle = nn.Linear(2, 3)
    gradient = assert_exact(chain_of(chain, model, adjoint), tasks_at_once)
    reptile = recipe("reptile", objective(model))
    going, _ = meta_gradient(reptile, initial_meta(reptile), random_episodes("mlp", 3))
    assert not any(g.any() for n, g in [*gradient.items(), *going.items()] if "idle" in n)


@every_exact_way
def test_a_body_that_only_affects_the_support_loss_learns(adjoint, tasks_at_once):
    # f = h x b on the support set (x > 0), h x on the query set: b reaches the query loss only
    # through h' = h - a 2 (h b x - y) b x, hence dL/db = 2 (h' x' - y') x' * -2 a x (2 h b x - y)
    model = Layers(
        lambda m, x: m.head(x) * torch.where(x > 0, m.body, 1.0),
        body=nn.Parameter(torch.ones(1)),
        head=nn.Linear(1, 1, bias=False),
    )
    algorithm = chain_of("descent", model, adjoint, part="head", steps=1)
    (a, h, b), (x, y), (u, v) = (0.1, 0.6, 0.8), (1.5, 2.0), (-0.7, 1.2)
    number = torch.ones(1, dtype=torch.float64)
    meta = {"body": b * number, "head.weight": h * number[None]}
    episodes = one_example((x, y), (u, v))
    gradient, _ = meta_gradient(algorithm, meta, episodes, tasks_at_once=tasks_at_once)
    outer = 2 * ((h - a * 2 * (h * b * x - y) * b * x) * u - v) * u
    assert float(gradient["body"]) == pytest.approx(outer * -2 * a * x * (2 * h * b * x - y))
    assert float(gradient["head.weight"]) == pytest.approx(outer * (1 - 2 * a * (b * x) ** 2))


@every_exact_way
def test_parameters_in_lists_and_dictionaries_and_orthogonal_ones_are_exact(adjoint, tasks_at_once):
    model = Layers(
        lambda m, x: m.turn(torch.tanh(x @ m.weights[0])) @ m.weights[1] + m.biases["out"],
        weights=nn.ParameterList([torch.ones(1, 3), torch.ones(3, 1)]),
        biases=nn.ParameterDict({"out": nn.Parameter(torch.ones(1))}),
        turn=parametrizations.orthogonal(nn.Linear(3, 3)),
    )
    assert_exact(recipe("maml", objective(model), adjoint), tasks_at_once)


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_weight_norm_whose_second_derivative_torch_gets_wrong_is_exact_and_vectorised(adjoint):
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(1, 4)), nn.Tanh(), nn.Linear(4, 1))
    assert is_checked(recipe("maml", objective(model), adjoint)) == "all"


def test_a_deliberately_different_gradient_is_accepted():
    layers = {"body": nn.Linear(1, 4), "head": nn.Linear(4, 1)}
    model = Layers(lambda m, x: m.head((y := m.body(x)) + (y.round() - y).detach()), **layers)
    assert is_checked(recipe("maml", objective(model))) == "all"


@pytest.mark.parametrize(("adjoint", "tasks_at_once"), [("unrolled", "all"), ("recomputed", 1)])
def test_a_layer_may_be_named_as_the_norms_statistics_are(adjoint, tasks_at_once):
    model = Layers(lambda m, x: m.head(m.statistics(x)), statistics=nn.Linear(1, 4))
    model.head = nn.Linear(4, 1)
    gradient = assert_exact(recipe("maml", objective(model), adjoint), tasks_at_once)
    assert bool(gradient["statistics.weight"].any())
