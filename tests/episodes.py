"""Small networks, algorithms and episodes that the tests of algorithms share."""

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaloop.algorithms import (
    R2D2,
    Algorithm,
    GradientBased,
    MultiStepLoss,
    Prototypical,
    SquaredDistance,
    anil,
    boil,
    cavia,
    fomaml,
    imaml,
    maml,
    maml_plus_plus,
    meta_curvature,
    meta_sgd,
    pmf,
    pretrain,
    proto_maml,
    reptile,
)
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import (
    Adagrad,
    Adam,
    AdamW,
    ClipNorm,
    ClipValue,
    Curvature,
    GroupedStepSize,
    LearnedStepSize,
    Momentum,
    Objective,
    RMSprop,
    ScheduledStepSize,
    StepSize,
    StepSizeDecay,
    TowardsTheta,
    Update,
    WeightDecay,
)
from metaloop.meta_gradient import AtOnce, TasksAtOnce, preflight_check, warn_of_slower


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)
    )


def conv(norm=nn.BatchNorm2d) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        norm(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1),
        norm(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(72, 3),
    )


class Shift(nn.Module):
    """Adds a context to its features."""

    def __init__(self, features):
        super().__init__()
        self.context = nn.Parameter(torch.zeros(features))

    def forward(self, x):
        return x + self.context


def objective(network: str = "mlp", name: str = "maml", **norms: str) -> Objective:
    """A body and a head for a recipe: a context only for the one that adapts it."""
    torch.manual_seed(0)
    context = [Shift] if name == "cavia" else []
    if network == "mlp":
        shift = [layer(6) for layer in context]
        body = nn.Sequential(nn.Linear(1, 6), *shift, nn.Tanh(), nn.Linear(6, 6), nn.Tanh())
        return Objective(model=named(body, nn.Linear(6, 1)).double(), loss=F.mse_loss, **norms)
    norm, shift = nn.BatchNorm2d(4), [layer(64) for layer in context]
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=3, bias=False), norm, nn.Tanh(), nn.Flatten(), *shift
    )
    return Objective(model=named(body, nn.Linear(64, 3)).double(), loss=F.cross_entropy, **norms)


NETWORKS = {"mlp": (mlp, F.mse_loss), "conv": (conv, F.cross_entropy)}
HEADS = {"mlp": "4", "conv": "9"}


def make(name: str, objective: Objective, inner_lr: float, steps: int) -> Algorithm:
    """MAML or first-order MAML."""
    values = {"inner_lr": inner_lr, "inner_steps": steps, "eval_inner_steps": steps}
    if name == "fomaml":
        return fomaml(objective, **values)
    return maml(objective, **values, adjoint="unrolled")


def recipe(name: str, objective: Objective, adjoint: str = "unrolled") -> Algorithm:
    """Any recipe of the package, by its config's name, with small numbers."""
    values = {"inner_lr": 0.05, "inner_steps": 2, "eval_inner_steps": 3}
    if name == "prototypical":
        return Prototypical(objective)
    if name == "r2d2":
        return R2D2(objective, strength=0.5, scale=3.0)
    if name == "pretrain":
        classes = 0 if objective.loss is F.mse_loss else CLASSES
        return pretrain(objective, **values, classes=classes, part="everything")
    if name == "proto_maml":
        return proto_maml(objective, **values, adjoint=adjoint, part="everything")
    if name == "pmf":
        return pmf(objective, inner_lr=0.05, eval_inner_steps=3, part="everything")
    if name == "imaml":
        return imaml(objective, **values, strength=2.0, cg_steps=3, hessian_free_steps=None)
    if name == "maml_plus_plus":
        switches = {"epoch_steps": 10, "multi_step_epochs": 2, "first_order_epochs": 0}
        switches |= {"learned_step_sizes": True, "per_step_norm": True, "part": "everything"}
        return maml_plus_plus(objective, **values, adjoint=adjoint, **switches)
    if name == "reptile":
        return reptile(objective, **values, beta1=0.0, beta2=0.9, batch_size=3)
    if name == "fomaml":
        return fomaml(objective, **values)
    makers = {
        "maml": maml,
        "anil": anil,
        "boil": boil,
        "cavia": cavia,
        "meta_sgd": meta_sgd,
        "meta_curvature": meta_curvature,
    }
    return makers[name](objective, **values, adjoint=adjoint)


RECIPES = (
    "maml",
    "fomaml",
    "anil",
    "boil",
    "cavia",
    "imaml",
    "maml_plus_plus",
    "meta_curvature",
    "meta_sgd",
    "pmf",
    "pretrain",
    "proto_maml",
    "prototypical",
    "r2d2",
    "reptile",
)
CLASSES = 7  # global class ids of the made-up episodes

CHAINS = {
    "descent": [StepSize(0.1)],
    "momentum": [Momentum(0.9), StepSize(0.1)],
    "adam": [Adam(0.5, 0.9), StepSize(0.05)],
    "nesterov": [Momentum(0.9, nesterov=True), StepSize(0.1)],
    "dampened": [WeightDecay(0.2), Momentum(0.9, dampening=0.3), StepSize(0.1)],
    "adam_coupled": [WeightDecay(0.2), Adam(0.5, 0.9), StepSize(0.05)],
    "adamw": [AdamW(0.5, 0.9, weight_decay=0.2), StepSize(0.05)],
    "rmsprop": [RMSprop(0.9), StepSize(0.02)],
    "rmsprop_centered": [RMSprop(0.9, centered=True), Momentum(0.8), StepSize(0.01)],
    "adagrad": [Adagrad(lr_decay=0.1), StepSize(0.05)],
    "groups": [Momentum(0.5), GroupedStepSize({"bias$": 0.01, ".*": 0.1})],
    "schedule": [ScheduledStepSize([0.1, 0.05])],
    "cosine": [StepSize(0.1), StepSizeDecay("cosine", steps=3, end=0.1)],
    "clip_norm": [ClipNorm(0.5), StepSize(0.1)],
    "clip_value": [ClipValue(0.05), StepSize(0.1)],
    "proximal": [TowardsTheta(2.0), StepSize(0.1)],
    "curvature": [Curvature(), StepSize(0.1)],
    "element": [LearnedStepSize(0.1, "element")],
    "tensor_and_step": [LearnedStepSize(0.1, "tensor_and_step")],
    "everything": [
        ClipNorm(1.0),
        TowardsTheta(0.5),
        Curvature(),
        Momentum(0.5),
        LearnedStepSize(0.1, "element"),
    ],
}


def named(body: nn.Module, head: nn.Module) -> nn.Module:
    """A model with a body and a head."""
    return nn.Sequential(OrderedDict(body=body, head=head))


def reference_case(
    arrays: dict[str, np.ndarray], network: str, case: str, adjoint: str = "unrolled"
) -> tuple[Algorithm, dict[str, Tensor], Episode, dict[str, Tensor]]:
    """The algorithm, meta, episodes and expected gradient of one reference case, float64."""

    def array(key: str) -> Tensor:
        return torch.from_numpy(arrays[f"{network}/{key}"])

    build, loss = NETWORKS[network]
    model = build().double()
    names = [name for name, _ in model.named_parameters()]
    meta = {name: array(f"input_theta/{name}") for name in names}
    expected = {name: array(f"{case}/theta/{name}") for name in names}
    alpha, steps = float(array("input_alpha")), int(array("input_steps"))
    pieces: dict[str, object] = {"update": Update([StepSize(alpha)]), "adjoint": adjoint}
    if case == "anil":
        pieces["part"] = rf"match:^{HEADS[network]}\."
    if case == "boil":
        pieces["part"] = rf"match:^(?!{HEADS[network]}\.)"
    if case in ("meta_sgd", "lslr"):
        granularity = "element" if case == "meta_sgd" else "tensor_and_step"
        pieces["update"] = Update([LearnedStepSize(alpha, granularity)])
        meta |= {f"step_size.{n}": array(f"{case}/input_step_size/{n}") for n in names}
        expected |= {f"step_size.{n}": array(f"{case}/step_size/{n}") for n in names}
    if case == "multi_step_loss":
        pieces["outer_loss"] = MultiStepLoss(array(f"{case}/input_weights").tolist())
    if case == "reptile":
        pieces["outer_loss"] = SquaredDistance()
    objective = Objective(model=model, loss=loss)
    algorithm = GradientBased(
        objective=objective, inner_steps=steps, eval_inner_steps=steps, **pieces
    )
    episodes = Episode(
        Examples(array("input_support_inputs"), array("input_support_targets")),
        Examples(array("input_query_inputs"), array("input_query_targets")),
        torch.zeros(3, 0),
    )
    return algorithm, meta, episodes, expected


def random_case(
    network: str, name: str = "maml", tasks: int = 4, steps: int = 2, **norm
) -> tuple[Algorithm, dict[str, Tensor], Episode]:
    """MAML or first-order MAML with made-up weights and episodes, float64, fixed."""
    build, loss = NETWORKS[network]
    model = build(**norm).double()
    draw = drawer(0)
    theta = {n: 0.5 * draw(*p.shape) for n, p in model.named_parameters()}
    objective = Objective(model=model, loss=loss)
    return make(name, objective, 0.1, steps), theta, random_episodes(network, tasks)


def random_episodes(network: str, tasks: int = 4) -> Episode:
    """Made-up episodes for one of the networks, float64, fixed."""
    draw = drawer(1)
    if network == "mlp":
        parts = [Examples(draw(tasks, n, 1), draw(tasks, n, 1)) for n in (5, 7)]
    else:
        parts = [
            Examples(draw(tasks, n, 1, 12, 12), (torch.arange(n) % 3).repeat(tasks, 1))
            for n in (6, 9)
        ]
    classes = torch.stack([(torch.arange(3) + t) % CLASSES for t in range(tasks)])
    return Episode(*parts, classes if network == "conv" else torch.zeros(tasks, 0))


def initial_meta(algorithm: Algorithm) -> dict[str, Tensor]:
    """The model's parameters and the algorithm's own, as training would start with."""
    theta = algorithm.objective.meta_parameters()
    return {n: p.detach() for n, p in {**theta, **algorithm.own_parameters()}.items()}


def drawer(seed: int):
    """Normal float64 numbers from a generator of its own."""
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def exact_tasks_at_once(
    algorithm: Algorithm, meta: dict[str, Tensor], episodes: Episode, asked: TasksAtOnce = "all"
) -> TasksAtOnce:
    """How many tasks at once the pre-flight check allows; it warns where those are fewer."""
    at_once = AtOnce(tasks_at_once=asked, chunks_at_once=1)
    verdict = preflight_check(algorithm, meta, episodes, at_once)
    warn_of_slower(verdict)
    return verdict.at_once["tasks_at_once"]
