"""Small networks and episodes that the tests of algorithms share."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaloop.algorithms import Algorithm, fomaml, maml
from metaloop.episode import Episode, Examples
from metaloop.inner_loop import Objective
from metaloop.models import BatchNorm


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1)
    )


def conv(norm=BatchNorm) -> nn.Module:
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


NETWORKS = {"mlp": (mlp, F.mse_loss), "conv": (conv, F.cross_entropy)}


def make(name: str, objective: Objective, inner_lr: float, steps: int) -> Algorithm:
    """An algorithm by its config's name."""
    values = {"inner_lr": inner_lr, "inner_steps": steps, "eval_inner_steps": steps}
    if name == "fomaml":
        return fomaml(objective, **values)
    return maml(objective, **values, adjoint="unrolled")


def reference_case(
    arrays: dict[str, np.ndarray], network: str, case: str
) -> tuple[Algorithm, dict[str, Tensor], Episode, dict[str, Tensor]]:
    """The algorithm, theta, episodes and expected gradient of one reference case, float64."""

    def array(key: str) -> Tensor:
        return torch.from_numpy(arrays[f"{network}/{key}"])

    build, loss = NETWORKS[network]
    model = build().double()
    names = [name for name, _ in model.named_parameters()]
    theta = {name: array(f"input_theta/{name}") for name in names}
    episodes = Episode(
        Examples(array("input_support_inputs"), array("input_support_targets")),
        Examples(array("input_query_inputs"), array("input_query_targets")),
        torch.zeros(3, 0),
    )
    algorithm = make(
        case,
        Objective(model=model, loss=loss),
        float(array("input_alpha")),
        int(array("input_steps")),
    )
    return algorithm, theta, episodes, {n: array(f"{case}/theta/{n}") for n in names}


def random_case(
    network: str, name: str = "maml", tasks: int = 4, steps: int = 2, **norm
) -> tuple[Algorithm, dict[str, Tensor], Episode]:
    """An algorithm with made-up weights and episodes, float64, fixed."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    build, loss = NETWORKS[network]
    model = build(**norm).double()
    theta = {n: 0.5 * draw(*p.shape) for n, p in model.named_parameters()}
    if network == "mlp":
        parts = [Examples(draw(tasks, n, 1), draw(tasks, n, 1)) for n in (5, 7)]
    else:
        parts = [
            Examples(draw(tasks, n, 1, 12, 12), (torch.arange(n) % 3).repeat(tasks, 1))
            for n in (6, 9)
        ]
    objective = Objective(model=model, loss=loss)
    return make(name, objective, 0.1, steps), theta, Episode(*parts, torch.zeros(tasks, 0))
