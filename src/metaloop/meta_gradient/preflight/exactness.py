"""Is a model differentiated exactly, and under vmap too? Asked once, before the first step."""

import warnings

from torch import Tensor, nn

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.chunks import TasksAtOnce
from metaloop.meta_gradient.meta_gradient import AtOnce, Gradient, meta_gradient
from metaloop.meta_gradient.preflight.randomness import (
    draws_chance,
    exact_chunks_at_once,
    refuse_chance,
)
from metaloop.meta_gradient.preflight.second_derivative import error_of_hessian_product, norm_of
from metaloop.meta_gradient.preflight.trial import (
    first_line,
    in_float64,
    is_ours,
    parameters_and_support,
    some,
    theta_and_two_tasks,
)
from metaloop.meta_gradient.random_state import keep_random_state

REMEDY = (
    "Use torch.nn.BatchNorm2d or torch.nn.GroupNorm instead; for a layer without a "
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


def exact_at_once(
    algorithm: Algorithm, meta: Parameters, episodes: Episode, at_once: AtOnce
) -> AtOnce:
    """What of at_once is exact for the model: 1 in place of what is not, with a warning."""
    place = algorithm, meta, episodes
    return AtOnce(
        tasks_at_once=exact_tasks_at_once(*place, at_once["tasks_at_once"]),
        chunks_at_once=exact_chunks_at_once(*place, at_once["chunks_at_once"]),
    )


def exact_tasks_at_once(
    algorithm: Algorithm, meta: Parameters, episodes: Episode, tasks_at_once: TasksAtOnce
) -> TasksAtOnce:
    """Return tasks_at_once if vmap is exact for the model, else 1, with a warning.

    Compares the vmapped with the task-by-task meta-gradient of two tasks in float64, on a
    throw-away copy without dropout, at weights moved a little: a layer at zero would hide what is
    wrong behind it. Our own models are known to be exact and are not tried, unless they hold
    modules of others.

    Raises:
        UserError: no exact meta-gradient goes through the model, even task by task: it changes
            its buffers, its second derivative is wrong, or it draws chance where the
            adjoint evaluates it twice.

    """
    model = algorithm.objective.model
    with keep_random_state(episodes.classes.device):
        reason = None if is_ours(model) else _what_is_wrong(algorithm, meta, episodes)
        if algorithm.evaluates_twice:
            refuse_chance(algorithm, meta, episodes)
    if reason is None or tasks_at_once == 1:
        return tasks_at_once
    warnings.warn(
        f"{type(model).__name__} {reason}; it runs task by task, which is slower but exact. "
        f"Look at {_suspects(model)}. {REMEDY}",
        stacklevel=2,
    )
    return 1


def _what_is_wrong(algorithm: Algorithm, meta: Parameters, episodes: Episode) -> str | None:
    trial = in_float64(algorithm)
    model = trial.objective.model
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0  # chance would tell the two apart, not an error
    theta, two = theta_and_two_tasks(meta, episodes)
    before = {name: (buffer, buffer._version) for name, buffer in model.named_buffers()}
    try:
        exact, _ = meta_gradient(trial, theta, two, tasks_at_once=1)
    except (RuntimeError, NotImplementedError) as error:
        _refuse_changed_buffers(model, before)
        raise UserError(_no_gradient(trial, error)) from error
    _refuse_changed_buffers(model, before)
    place = parameters_and_support(trial, theta, two)
    if draws_chance(trial.objective, *place):
        model.eval()  # what draws it is no dropout layer; its forward may ask self.training
        if draws_chance(trial.objective, *place):
            return "draws chance in eval() too, so that nobody can tell whether vmap is exact"
        exact, _ = meta_gradient(trial, theta, two, tasks_at_once=1)
    if algorithm.needs_second_derivative:
        _refuse_wrong_second_derivative(trial, *place)
    try:
        vmapped, _ = meta_gradient(trial, theta, two, tasks_at_once="all")
    except (RuntimeError, NotImplementedError) as error:
        return f"cannot be vectorised over tasks ({first_line(error)})"
    if (distance := _distance(vmapped, exact)) < 1e-8:
        return None
    return (
        f"has a wrong meta-gradient when vectorised over tasks (off by {distance:.1e} in float64)"
    )


def _no_gradient(trial: Algorithm, error: Exception) -> str:
    model = trial.objective.model
    if "forward AD" in str(error):
        return (
            f"adjoint={trial.describe().get('adjoint')} differentiates forward too, which "
            f"{type(model).__name__} does not allow: {first_line(error)}. Look at "
            f"{_suspects(model)}, or set algorithm.adjoint=unrolled."
        )
    buffers = some([name for name, _ in model.named_buffers()])
    return (
        f"No meta-gradient goes through {type(model).__name__}: {first_line(error)}. Look "
        f"at {_suspects(model)}: layers must not change their buffers"
        f"{buffers and f' ({buffers})'} in the forward pass. {REMEDY}"
    )


def _refuse_changed_buffers(model: nn.Module, before: dict[str, tuple[Tensor, int]]) -> None:
    now = dict(model.named_buffers())
    changed = [
        name
        for name, (buffer, version) in before.items()
        if now.get(name) is not buffer or buffer._version != version
    ]
    if changed:
        raise UserError(
            f"Buffers are constants of a meta-gradient, but {type(model).__name__} changes "
            f"{some(changed)} in its forward pass: one task would leak into the next. Keep that "
            "layer in eval(), where this stops it, or use one that keeps no such state."
        )


def _refuse_wrong_second_derivative(trial: Algorithm, theta: Parameters, support: Examples) -> None:
    """Refuse a model whose H d is not the finite difference of gradients along d.

    H is the support loss's Hessian, d a direction of the parameters that adapt, and H d is taken
    the way that the adjoint takes it.
    """
    error = error_of_hessian_product(trial, theta, support)
    if error < 1e-4:
        return
    model = trial.objective.model
    raise UserError(
        f"No exact meta-gradient goes through {type(model).__name__}: the second derivative of its "
        f"support loss is off by {error:.1e} of a finite difference in float64. Look at "
        f"{_suspects(model)}: a layer with a backward pass of its own, as that of torch's "
        "weight_norm, has to be differentiable twice. Write it from plain tensor operations, or "
        "set algorithm.adjoint=first_order."
    )


def _distance(one: Gradient, other: Gradient) -> float:
    """The largest difference of a tensor, relative to the whole gradient's norm."""
    norm = norm_of(other.values())
    return max(float((one[name] - g).norm() / norm) for name, g in other.items())


def _suspects(model: nn.Module) -> str:
    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    named = [(n, m) for n, m in leaves if isinstance(m, SUSPECTS)] or leaves
    return some([f"{name} ({type(module).__name__})" for name, module in named])
