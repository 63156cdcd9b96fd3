"""Is vmapping over tasks exact for this model? Asked once, before the first step."""

import copy
import warnings
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.meta_gradient import Gradient, TasksAtOnce, meta_gradient
from metaloop.episode import Episode
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters

REMEDY = (
    "Use metaloop.models.BatchNorm or torch.nn.GroupNorm instead; for a layer without a "
    "substitute set device.tasks_at_once=1."
)
# Layers whose double backward is wrong under vmap (functorch issue 534), or which write into
# buffers or fuse their kernels, so that it may be.
SUSPECTS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
)


def exact_tasks_at_once(
    algorithm: Algorithm, meta: Parameters, episodes: Episode, tasks_at_once: TasksAtOnce
) -> TasksAtOnce:
    """Return tasks_at_once if vmap is exact for the model, else 1, with a warning.

    Compares the vmapped with the task-by-task meta-gradient of two tasks in float64, on a
    throw-away copy without dropout, at weights moved a little: a layer at zero would hide what is
    wrong behind it. Our own models are known to be exact and are not tried.

    Raises:
        UserError: the model cannot be differentiated through even task by task.

    """
    model = algorithm.objective.model
    if type(model).__module__.startswith("metaloop."):
        return tasks_at_once
    with torch.random.fork_rng():  # what follows must not see that there was a check
        reason = _what_is_wrong(algorithm, meta, episodes)
    if reason is None or tasks_at_once == 1:
        return tasks_at_once
    warnings.warn(
        f"{type(model).__name__} {reason}; it runs task by task, which is slower but exact. "
        f"Look at {_suspects(model)}. {REMEDY}",
        stacklevel=2,
    )
    return 1


def _what_is_wrong(algorithm: Algorithm, meta: Parameters, episodes: Episode) -> str | None:
    model = algorithm.objective.model
    trial = _in_float64(algorithm)
    theta = {name: _moved(p.detach().double()) for name, p in meta.items()}
    two = pytree.tree_map(_two_in_float64, episodes)
    try:
        exact, _ = meta_gradient(trial, theta, two, tasks_at_once=1)
    except (RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"No meta-gradient goes through {type(model).__name__}: {_first_line(error)}. Look "
            f"at {_suspects(model)}: layers must not change their buffers in the forward pass. "
            f"{REMEDY}"
        ) from error
    try:
        vmapped, _ = meta_gradient(trial, theta, two, tasks_at_once="all")
    except (RuntimeError, NotImplementedError) as error:
        return f"cannot be vectorised over tasks ({_first_line(error)})"
    if (distance := _distance(vmapped, exact)) < 1e-8:
        return None
    return (
        f"has a wrong meta-gradient when vectorised over tasks (off by {distance:.1e} in float64)"
    )


def _moved(tensor: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
    return tensor + 0.05 * noise.to(tensor.device)


def _in_float64(algorithm: Algorithm) -> Algorithm:
    model = copy.deepcopy(algorithm.objective.model).double()
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0  # chance would tell the two apart, not an error
    trial = copy.copy(algorithm)
    object.__setattr__(trial, "objective", replace(algorithm.objective, model=model))
    return trial


def _two_in_float64(tensor: Tensor) -> Tensor:
    first = tensor[:2] if len(tensor) > 1 else tensor.repeat_interleave(2, 0)
    return first.double() if first.is_floating_point() else first


def _distance(one: Gradient, other: Gradient) -> float:
    """The largest difference of a tensor, relative to the whole gradient's norm."""
    norm = torch.stack([g.norm() for g in other.values()]).norm()
    return max(float((one[name] - g).norm() / norm) for name, g in other.items())


def _suspects(model: nn.Module) -> str:
    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    named = [(n, m) for n, m in leaves if isinstance(m, SUSPECTS)] or leaves
    return ", ".join(f"{name} ({type(module).__name__})" for name, module in named[:8])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
