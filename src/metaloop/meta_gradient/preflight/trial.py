"""What an algorithm is tried on before the first step: a copy in float64, and two tasks."""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import STATISTICS, Parameters


def parameters_and_support(
    trial: Algorithm, theta: Parameters, two: Episode
) -> tuple[Parameters, Examples]:
    """What the objective alone is asked about: without what the algorithm has learned."""
    parameters = {name: theta[name] for name in trial.objective.meta_parameters()}
    return parameters, pytree.tree_map(lambda tensor: tensor[0], two.support)


def theta_and_two_tasks(meta: Parameters, episodes: Episode) -> tuple[dict[str, Tensor], Episode]:
    """Weights moved a little, since a layer at zero would hide what is wrong behind it."""
    theta = {
        # a variance that is stored must stay positive
        name: p.detach().double() if name.startswith(STATISTICS) else _moved(p.detach().double())
        for name, p in meta.items()
    }
    return theta, pytree.tree_map(_two_in_float64, episodes)


def _moved(tensor: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
    return tensor + 0.05 * noise.to(tensor.device)


def is_ours(model: nn.Module) -> bool:
    """Whether a model and all that it is made of is metaloop's or torch's."""
    houses = {type(module).__module__.partition(".")[0] for module in model.modules()}
    return type(model).__module__.startswith("metaloop.") and houses <= {"metaloop", "torch"}


def in_float64(algorithm: Algorithm) -> Algorithm:
    """The same algorithm on a throw-away copy of its model."""
    model = algorithm.objective.model
    try:
        model = copy.deepcopy(model).double()
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"{type(model).__name__} has to be copied for a trial before the first step, and "
            f"cannot be: {first_line(error)}. Let it hold tensors only as parameters and buffers, "
            "and torch.nn.utils.parametrizations in place of torch.nn.utils' older hooks."
        ) from error
    return algorithm.judged_by(replace(algorithm.objective, model=model))


def _two_in_float64(tensor: Tensor) -> Tensor:
    first = tensor[:2] if len(tensor) > 1 else tensor.repeat_interleave(2, 0)
    return first.double() if first.is_floating_point() else first


def some(names: list[str]) -> str:
    """The first of the names, for a message."""
    return ", ".join(names[:8]) + (" .." if len(names) > 8 else "")


def first_line(error: Exception) -> str:
    """What an error says, for a message."""
    return str(error).strip().splitlines()[0].rstrip(".")
