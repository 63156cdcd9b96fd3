"""Each inner optimizer against torch.optim's own, in float64."""

from functools import partial

import pytest
import torch
import yaml
from torch.func import functional_call
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils._pytree import tree_map

from metaloop.algorithms import GradientBased
from metaloop.errors import UserError
from metaloop.inner_loop import (
    Adagrad,
    Adam,
    AdamW,
    GroupedStepSize,
    LearnedStepSize,
    Momentum,
    RMSprop,
    ScheduledStepSize,
    StepSize,
    StepSizeDecay,
    TowardsTheta,
    Update,
    WeightDecay,
)
from metaloop.meta_gradient import meta_gradient
from metaloop.run.config.construct import construct
from tests.episodes import drawer, initial_meta, objective, random_episodes

STEPS, LR = 5, 0.05
SGD, RMS = partial(torch.optim.SGD, lr=LR), partial(torch.optim.RMSprop, lr=LR)
BETAS = {"lr": LR, "betas": (0.8, 0.9)}


def by_group(parameters, **arguments):
    """SGD of which every bias has a step size of its own."""
    weights, biases = parameters[0::2], parameters[1::2]
    return torch.optim.SGD([{"params": weights}, {"params": biases, "lr": 0.01}], **arguments)


# the links before the step size, and torch's optimizer with the same numbers
SAME = {
    "momentum": ([Momentum(0.9)], partial(SGD, momentum=0.9)),
    "dampening": ([Momentum(0.9, 0.4)], partial(SGD, momentum=0.9, dampening=0.4)),
    "nesterov": ([Momentum(0.9, nesterov=True)], partial(SGD, momentum=0.9, nesterov=True)),
    "sgd coupled": (
        [WeightDecay(0.3), Momentum(0.9)],
        partial(SGD, momentum=0.9, weight_decay=0.3),
    ),
    "adam": ([Adam(0.8, 0.9)], partial(torch.optim.Adam, **BETAS)),
    "adam by default": ([Adam()], partial(torch.optim.Adam, lr=LR)),
    "adam coupled": (
        [WeightDecay(0.3), Adam(0.8, 0.9)],
        partial(torch.optim.Adam, weight_decay=0.3, **BETAS),
    ),
    "adamw": (
        [AdamW(0.8, 0.9, weight_decay=0.3)],
        partial(torch.optim.AdamW, weight_decay=0.3, **BETAS),
    ),
    "adamw by default": ([AdamW()], partial(torch.optim.AdamW, lr=LR)),
    "adam, then decay": (
        [Adam(0.8, 0.9), WeightDecay(0.3)],
        partial(torch.optim.AdamW, weight_decay=0.3, **BETAS),
    ),
    "rmsprop": ([RMSprop()], RMS),
    "rmsprop momentum": ([RMSprop(0.9), Momentum(0.7)], partial(RMS, alpha=0.9, momentum=0.7)),
    "rmsprop centered": ([RMSprop(0.9, centered=True)], partial(RMS, alpha=0.9, centered=True)),
    "rmsprop everything": (
        [WeightDecay(0.3), RMSprop(0.9, 1e-3, centered=True), Momentum(0.7)],
        partial(RMS, alpha=0.9, eps=1e-3, centered=True, momentum=0.7, weight_decay=0.3),
    ),
    "adagrad": ([Adagrad()], partial(torch.optim.Adagrad, lr=LR)),
    "adagrad everything": (
        [WeightDecay(0.3), Adagrad(0.1, 0.2, 1e-3)],
        partial(
            torch.optim.Adagrad,
            lr=LR,
            lr_decay=0.1,
            initial_accumulator_value=0.2,
            eps=1e-3,
            weight_decay=0.3,
        ),
    ),
}
CHAIN_AND_OPTIMIZER = {
    **{name: ([*links, StepSize(LR)], make) for name, (links, make) in SAME.items()},
    "groups": (
        [Momentum(0.9), GroupedStepSize({r".*\.bias": 0.01, ".*": LR})],
        partial(by_group, lr=LR, momentum=0.9),
    ),
}


def learner(chain, adjoint="unrolled", steps=STEPS, part="everything") -> GradientBased:
    return GradientBased(
        objective=objective(),
        update=Update(chain),
        adjoint=adjoint,
        inner_steps=steps,
        eval_inner_steps=steps,
        part=part,
    )


def trained_by_torch(make, theta, support, steps=STEPS, schedule=None):
    """The path of theta under an optimizer of torch.optim, and of its schedule."""
    phi = {name: p.clone().requires_grad_() for name, p in theta.items()}
    optimizer, model = make(list(phi.values())), objective().model
    decay = schedule and schedule(optimizer)
    path = [theta]
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(functional_call(model, phi, support.inputs), support.targets).backward()
        optimizer.step()
        if decay:
            decay.step()
        path.append({name: p.detach().clone() for name, p in phi.items()})
    return path


def one_task():
    return tree_map(lambda x: x[0], random_episodes("mlp"))


def assert_paths_equal(algorithm, expected):
    found = algorithm.adapt(initial_meta(algorithm), one_task().support, len(expected) - 1)
    for ours, theirs in zip(found, expected, strict=True):
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CHAIN_AND_OPTIMIZER)
def test_every_step_is_torchs(name):
    chain, make = CHAIN_AND_OPTIMIZER[name]
    algorithm = learner(chain)
    theta = initial_meta(algorithm)
    assert_paths_equal(algorithm, trained_by_torch(make, theta, one_task().support))


@pytest.mark.parametrize("scale", [1e-12, 1e-7])
@pytest.mark.parametrize(
    "name", ["adam", "adamw", "rmsprop", "rmsprop centered", "adagrad", "adagrad everything"]
)
def test_a_step_is_torchs_for_tiny_and_for_zero_gradients(name, scale):
    links, make = SAME[name]
    update, draw = Update([*links, StepSize(LR)]), drawer(3)
    start, gradients = draw(6), [scale * draw(6) for _ in range(STEPS)]
    for gradient in gradients:
        gradient[:2] = 0  # of a unit that is never active
    phi = start.clone().requires_grad_()
    optimizer, state = make([phi]), update.start({"phi": start})
    for step, gradient in enumerate(gradients):
        phi.grad = gradient.clone()
        optimizer.step()
        state = update(state, {"phi": gradient}, {"phi": start}, {}, step)
    moved = phi.detach() - start
    torch.testing.assert_close(state.phi["phi"] - start, moved, rtol=1e-11, atol=1e-16)


@pytest.mark.parametrize("name", CHAIN_AND_OPTIMIZER)
@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed"])
def test_the_meta_gradient_is_the_finite_difference_of_training_by_torch(name, adjoint):
    chain, make = CHAIN_AND_OPTIMIZER[name]
    algorithm, episodes = learner(chain, adjoint, steps=3), random_episodes("mlp", tasks=2)
    theta, draw, step = initial_meta(algorithm), drawer(2), 2e-5
    direction = {n: draw(*p.shape) for n, p in theta.items()}

    def meta_loss(theta):
        losses = []
        for t in range(2):
            task = tree_map(lambda x, t=t: x[t], episodes)
            *_, phi = trained_by_torch(make, theta, task.support, steps=3)
            predictions = functional_call(objective().model, phi, task.query.inputs)
            losses.append(F.mse_loss(predictions, task.query.targets))
        return torch.stack(losses).mean().detach()

    def along(length):
        return meta_loss({n: p + length * step * direction[n] for n, p in theta.items()})

    # exact up to the fifth derivative: these losses curve sharply
    measured = (8 * (along(1) - along(-1)) - (along(2) - along(-2))) / (12 * step)
    gradients = [meta_gradient(algorithm, theta, episodes, tasks_at_once=n)[0] for n in (1, 2)]
    for gradient in gradients:
        slope = sum((gradient[n] * direction[n]).sum() for n in theta)
        torch.testing.assert_close(slope, measured, rtol=1e-6, atol=1e-8)
    for n, value in gradients[0].items():  # task by task, and vectorised
        torch.testing.assert_close(gradients[1][n], value, rtol=1e-10, atol=1e-13)


def unrolled_by_hand(theta, task, step, adjoint):
    """The meta-gradient of an inner loop that is written out, through plain autograd."""
    theta = {name: p.clone().requires_grad_() for name, p in theta.items()}
    model, phi, memory = objective().model, theta, dict.fromkeys(theta)
    for k in range(1, 4):
        loss = F.mse_loss(functional_call(model, phi, task.support.inputs), task.support.targets)
        gradients = torch.autograd.grad(loss, list(phi.values()), create_graph=True)
        if adjoint == "first_order":
            gradients = [g.detach() for g in gradients]
        moved = {}
        for (name, p), g in zip(phi.items(), gradients, strict=True):
            moved[name], memory[name] = step(p, g, memory[name], k)
        phi = moved
    loss = F.mse_loss(functional_call(model, phi, task.query.inputs), task.query.targets)
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))


def sgd_by_hand(p, g, v, k):
    g = g + 0.2 * p
    v = g if v is None else 0.9 * v + 0.7 * g
    return p - LR * v, v


def nesterov_by_hand(p, g, v, k):
    v = g if v is None else 0.9 * v + g
    return p - LR * (g + 0.9 * v), v


def adamw_by_hand(p, g, memory, k):
    m, v = (0.0, 0.0) if memory is None else memory
    m, v = 0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g**2
    direction = (m / (1 - 0.8**k)) / ((v / (1 - 0.9**k)).sqrt() + 1e-8)
    return p * (1 - LR * 0.3) - LR * direction, (m, v)


def adagrad_by_hand(p, g, v, k):
    v = g**2 if v is None else v + g**2
    return p - LR / (1 + (k - 1) * 0.1) * g / (v.sqrt() + 1e-10), v


def cosine_by_hand(p, g, _, k):
    factor = {1: 1.0, 2: 0.5 + 0.5 * 0.5**0.5, 3: 0.5}[k]  # cosines of 0, 45 and 90 degrees
    return p - LR * factor * g, None


@pytest.mark.parametrize("adjoint", ["unrolled", "recomputed", "first_order"])
@pytest.mark.parametrize(
    ("chain", "step"),
    [
        ([WeightDecay(0.2), Momentum(0.9, 0.3), StepSize(LR)], sgd_by_hand),
        ([Momentum(0.9, nesterov=True), StepSize(LR)], nesterov_by_hand),
        ([AdamW(0.8, 0.9, weight_decay=0.3), StepSize(LR)], adamw_by_hand),
        ([Adagrad(0.1), StepSize(LR)], adagrad_by_hand),
        ([StepSize(LR), StepSizeDecay("cosine", steps=4)], cosine_by_hand),
    ],
)
def test_the_meta_gradient_is_that_of_a_loop_written_by_hand(chain, step, adjoint):
    algorithm, episodes = learner(chain, adjoint, steps=3), random_episodes("mlp", tasks=2)
    theta = initial_meta(algorithm)
    tasks = [tree_map(lambda x, t=t: x[t], episodes) for t in range(2)]
    by_hand = [unrolled_by_hand(theta, task, step, adjoint) for task in tasks]
    for tasks_at_once in (1, 2):
        gradient, _ = meta_gradient(algorithm, theta, episodes, tasks_at_once=tasks_at_once)
        for name, value in gradient.items():
            expected = (by_hand[0][name] + by_hand[1][name]) / 2
            torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "link", [Adam(), AdamW(), RMSprop(), RMSprop(centered=True), Adagrad()], ids=repr
)
def test_the_derivative_at_a_gradient_of_zero_is_finite(link):
    update = Update([link, StepSize(LR)])

    def moved(gradient):
        state = update.start({"phi": torch.ones(3)})
        for step in range(2):
            state = update(state, {"phi": gradient}, {"phi": torch.ones(3)}, {}, step)
        return state.phi["phi"].sum()

    assert torch.func.grad(moved)(torch.zeros(3)).isfinite().all()


@pytest.mark.parametrize(
    ("chain", "schedule"),
    [
        (
            [StepSize(LR), StepSizeDecay("linear", steps=4, end=0.2)],
            partial(lr_scheduler.LinearLR, start_factor=1, end_factor=0.2, total_iters=4),
        ),
        (
            [StepSize(LR), StepSizeDecay("cosine", steps=7, end=0.2)],
            partial(lr_scheduler.CosineAnnealingLR, T_max=7, eta_min=0.2 * LR),
        ),
        (
            [ScheduledStepSize([LR, LR / 2, LR / 5])],
            partial(lr_scheduler.LambdaLR, lr_lambda=lambda k: [1, 1 / 2, 1 / 5][min(k, 2)]),
        ),
    ],
)
def test_a_schedule_over_inner_steps_is_torchs(chain, schedule):
    algorithm = learner([Adam(), *chain])
    theta, make = initial_meta(algorithm), partial(torch.optim.Adam, lr=LR)
    expected = trained_by_torch(make, theta, one_task().support, 7, schedule)
    assert_paths_equal(algorithm, expected)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_steps_beyond_the_decay_keep_its_end(shape):
    update = Update([StepSize(LR), StepSizeDecay(shape, steps=3, end=0.25)])
    one = {"phi": torch.ones(1, dtype=torch.float64)}
    moves = [float(1 - update(update.start(one), one, one, {}, k).phi["phi"]) for k in range(6)]
    assert moves[0] == pytest.approx(LR, rel=1e-12)
    assert moves[3:] == pytest.approx([0.25 * LR] * 3, rel=1e-12)
    assert sorted(moves[:4], reverse=True) == moves[:4]


def test_a_parameter_belongs_to_the_first_pattern_that_finds_it():
    algorithm = learner([GroupedStepSize({"bias$": 0.01, "head": 0.2, ".*": 0.1})], steps=1)
    theta, support = initial_meta(algorithm), one_task().support
    _, phi = algorithm.adapt(theta, support, 1)
    _, unit = learner([StepSize(1.0)]).adapt(theta, support, 1)
    expected = {"body.0.weight": 0.1, "body.2.bias": 0.01, "head.bias": 0.01, "head.weight": 0.2}
    for name, lr in expected.items():
        torch.testing.assert_close(phi[name], theta[name] + lr * (unit[name] - theta[name]))


COMPOSED = """
_target_: metaloop.GradientBased
inner_steps: 3
eval_inner_steps: 3
update:
  _target_: metaloop.Update
  chain:
    - {_target_: metaloop.WeightDecay, rate: 0.1}
    - {_target_: metaloop.Momentum, decay: 0.9, nesterov: true}
    - {_target_: metaloop.GroupedStepSize, inner_lrs: {'.*bias': 0.01, '.*': 0.1}}
    - {_target_: metaloop.StepSizeDecay, shape: cosine, steps: 3}
"""
LINKS = [
    "Momentum, decay: 0.9, dampening: 0.1",
    "WeightDecay, rate: 0.1",
    "Adam",
    "AdamW, weight_decay: 0.1",
    "RMSprop, centered: true",
    "Adagrad",
    "GroupedStepSize, inner_lrs: {bias: 0.01, '.*': 0.1}",
    "ScheduledStepSize, inner_lrs: [0.1, 0.05]",
    "StepSizeDecay, shape: linear, steps: 5, end: 0.1",
]


def composed(text) -> GradientBased:
    node = yaml.safe_load(text)
    return construct(node, GradientBased, key="algorithm", objective=objective())


def with_link(link) -> str:
    head, _, _ = COMPOSED.partition("    - ")
    return f"{head}    - {{_target_: metaloop.{link}}}\n"


def test_a_chain_is_composed_in_yaml():
    algorithm = composed(COMPOSED)
    chain = [
        WeightDecay(0.1),
        Momentum(0.9, nesterov=True),
        GroupedStepSize({".*bias": 0.01, ".*": 0.1}),
        StepSizeDecay("cosine", 3),
    ]
    assert algorithm.update.chain == chain


@pytest.mark.parametrize("link", LINKS)
def test_each_link_is_one_line_of_yaml_and_the_protocol_names_its_numbers(link):
    (made,) = composed(with_link(link)).update.chain
    described = str(made.describe())
    for number in (n for n in ("0.9", "0.1", "0.05", "0.01") if n in link):
        assert number in described


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("Momentum, decay: -0.1", "chain.decay=-0.1 does not fit"),
        ("WeightDecay, rate: -1", "greater than or equal to 0"),
        ("Adam, beta2: 1.0", "less than 1"),
        ("RMSprop, eps: 0", "greater than 0"),
        ("Adagrad, epsilon: 1", "chain.epsilon is unknown"),
        ("ScheduledStepSize, inner_lrs: []", "at least 1 item"),
        ("ScheduledStepSize, inner_lrs: [0.1, 0]", "greater than 0"),
        ("GroupedStepSize, inner_lrs: {'.*': -1}", "greater than 0"),
        ("GroupedStepSize, inner_lrs: {}", "at least 1 item"),
        ("StepSizeDecay, shape: square, steps: 2", "'linear' or 'cosine'"),
        ("StepSizeDecay, shape: cosine, steps: 0", "greater than or equal to 1"),
        ("Momentum, decay: 0.9, dampening: 0.1, nesterov: true", "needs decay > 0 and damp"),
        ("Momentum, decay: 0, nesterov: true", "needs decay > 0"),
        (
            "GroupedStepSize, inner_lrs: {bias: 0.1}",
            r"matches body.0.weight, body.2.weight, head.w",
        ),
        ("GroupedStepSize, inner_lrs: {'.*': 0.1, bias: 0.2}", "'bias', which sets no step size"),
        (
            "GroupedStepSize, inner_lrs: {'*bias': 0.1}",
            r"'\*bias', which is not a regular expression",
        ),
    ],
)
def test_numbers_that_make_no_step_are_refused_with_the_reason(link, says):
    with pytest.raises(UserError, match=says):
        composed(with_link(link))


def test_only_the_parameters_that_adapt_need_a_step_size():
    learner([GroupedStepSize({"^head": 0.1})], part="head")
    with pytest.raises(UserError, match="matches head.weight, head.bias"):
        learner([GroupedStepSize({"^body": 0.1})])


@pytest.mark.parametrize("decay", [WeightDecay(0.1), AdamW()], ids=repr)
def test_the_implicit_adjoint_refuses_a_decay_that_moves_the_minimum(decay):
    with pytest.raises(UserError, match=f"but {type(decay).__name__} moves the end away"):
        GradientBased(
            objective=objective(),
            update=Update([TowardsTheta(1.0), decay, StepSize(0.1)]),
            adjoint="implicit",
            cg_steps=3,
            inner_steps=3,
            eval_inner_steps=3,
        )


def test_the_protocol_tells_a_coupled_from_a_decoupled_decay():
    before = Update([WeightDecay(0.1), Adam(), StepSize(LR)]).describe()
    after = Update([Adam(), WeightDecay(0.1), StepSize(LR)]).describe()
    assert before["inner_chain"] == "WeightDecay, Adam, StepSize"
    assert {**before, "inner_chain": None} == {**after, "inner_chain": None}
    assert before != after


def test_the_protocol_names_two_links_of_a_kind():
    twice = Update([WeightDecay(0.1), Adam(), WeightDecay(0.2), LearnedStepSize(LR, "element")])
    assert twice.describe()["inner_weight_decay"] == "0.1, 0.2"
