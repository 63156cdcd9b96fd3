"""A trial before the first step: a copy of the algorithm, two tasks and two points."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters
from metaloop.meta_gradient.model_copy import copy_model
from metaloop.meta_gradient.preflight.cause import first_line
from metaloop.meta_gradient.random_state import keep_random_state

MOVED = 0.1  # largest distance of the second point from theta, relative to each tensor's norm
SEED = 0
Modes = Mapping[str, bool]  # by module name: whether the module is in training mode


@dataclass(frozen=True)
class Trial:
    """A throw-away copy of an algorithm in one dtype, with two tasks of the meta-batch."""

    algorithm: Algorithm
    meta: Parameters
    tasks: Episode

    @property
    def objective(self) -> Objective:
        """Objective of the copy."""
        return self.algorithm.objective

    @property
    def model(self) -> nn.Module:
        """Model of the copy."""
        return self.algorithm.objective.model

    @property
    def theta(self) -> dict[str, Tensor]:
        """Parameters of the model, without the algorithm's."""
        return {name: self.meta[name] for name in self.objective.meta_parameters()}

    def task(self, number: int) -> Episode:
        """Return one of the tasks, as contiguous tensors."""
        task: Episode = pytree.tree_map(lambda t: t[number].contiguous(), self.tasks)
        return task

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the parameters."""
        return next(iter(self.theta.values())).dtype

    def at(self, theta: Parameters) -> "Trial":
        """Copy the trial with other parameters of the model."""
        return replace(self, meta={**self.meta, **theta})

    @contextmanager
    def same_random_state(self) -> Iterator[None]:
        """Start from a fixed random state; restore the caller's afterwards."""
        device = self.tasks.classes.device
        with keep_random_state(device):
            torch.manual_seed(SEED)
            yield


def make_trial(
    algorithm: Algorithm, meta: Parameters, episodes: Episode, dtype: torch.dtype | None
) -> Trial:
    """Copy an algorithm with its model and loss, in the given dtype or unchanged."""
    objective = algorithm.objective
    try:
        model = copy_model(objective.model)
        functions = {
            name: _copy_function(function, dtype)
            for name, function in {**objective.metrics, "": objective.loss}.items()
        }
    except Exception as error:  # a module may copy itself in a way of its own
        raise UserError(
            f"{type(objective.model).__name__} must be copied for a trial before the first step, "
            f"but cannot be: {first_line(error)}. Store tensors only as parameters and buffers."
        ) from error
    loss = functions.pop("")
    if dtype is not None:
        model = model.to(dtype)
    copied = replace(objective, model=model, loss=loss, metrics=functions)
    cast = {n: _cast(p.detach().clone(), dtype) for n, p in meta.items()}
    tasks = pytree.tree_map(lambda t: _cast(_two(t), dtype), episodes)
    return Trial(algorithm.judged_by(copied), cast, tasks)


def set_modes(model: nn.Module, modes: Modes | None) -> None:
    """Set the training mode of every module; None sets all to train()."""
    if modes is None:
        model.train()
        return
    for name, module in model.named_modules():
        module.training = modes.get(name, module.training)


def modes_of(model: nn.Module) -> Modes | None:
    """Return the training mode of every module; None if the model is in eval()."""
    if not model.training:
        return None
    return {name: module.training for name, module in model.named_modules()}


def move_away(trial: Trial) -> Trial:
    """Return another point: theta after two small steps of descent on the tasks' losses.

    It reveals layers that a layer initialised at zero hides. Steps along the gradient, rather than
    noise, keep the parameters in the domain of the loss.
    """
    size = MOVED
    for _ in range(6):
        # outside of its domain a loss may also raise, as Cholesky's decomposition does
        with suppress(Exception):
            theta = _descend(trial, size)
            if theta is not None:
                return trial.at(theta)
        size /= 10
    return trial


def _descend(trial: Trial, size: float) -> Parameters | None:
    theta = trial.theta
    for number in (0, 1):
        task = trial.task(number)
        found = gradient(partial(_loss, trial, task.support), theta, trial)[1]
        theta = {n: p - _step(p, found[n], size) for n, p in theta.items()}
    loss, found = gradient(partial(_loss, trial, trial.task(0).support), theta, trial)
    tensors = [loss, *found.values()]
    return theta if all(bool(torch.isfinite(t).all()) for t in tensors) else None


def _step(p: Tensor, g: Tensor, size: float) -> Tensor:
    """Step along the gradient by `size` of the tensor's norm; a zero tensor moves half of that."""
    norm, scale = g.norm(), p.norm()
    if not bool(norm > 0):
        return torch.zeros_like(p)
    length = size * scale if bool(scale > 0) else 0.5 * size * p.numel() ** 0.5
    step: Tensor = length * g / norm
    return step


def _loss(trial: Trial, support: Examples, theta: Parameters) -> Tensor:
    return trial.objective.support_loss(theta, support)


def gradient(
    loss: Callable[[Parameters], Tensor], theta: Parameters, trial: Trial, *, graph: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute a loss and its gradient by plain autograd, from the trial's random state."""
    with trial.same_random_state(), torch.enable_grad():
        leaves = {n: p.detach().requires_grad_() for n, p in theta.items()}
        value = loss(leaves)
        found = torch.autograd.grad(
            value, list(leaves.values()), create_graph=graph, materialize_grads=True
        )
    return value.detach(), dict(zip(leaves, found, strict=True))


def support_and_loss(trial: Trial) -> tuple[Examples, Callable[[Parameters], Tensor]]:
    """Return the first task's support set, and the loss on it as a function of parameters."""
    support = trial.task(0).support
    return support, partial(_loss, trial, support)


def _copy_function(
    function: Callable[..., Tensor], dtype: torch.dtype | None
) -> Callable[..., Tensor]:
    if not isinstance(function, nn.Module):
        return function
    copied: Callable[..., Tensor] = copy_model(function).to(dtype)
    return copied


def _cast(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor


def _two(tensor: Tensor) -> Tensor:
    return (tensor[:2] if len(tensor) > 1 else tensor.repeat_interleave(2, 0)).clone()


@contextmanager
def without_dropout(model: nn.Module) -> Iterator[None]:
    """Disable dropout layers inside; restore them and all training modes afterwards."""
    layers = [m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd)]
    before = [layer.p for layer in layers]
    modes = {module: module.training for module in model.modules()}
    for layer in layers:
        layer.p = 0.0
    try:
        yield
    finally:
        for layer, p in zip(layers, before, strict=True):
            layer.p = p
        for module, mode in modes.items():
            module.training = mode
