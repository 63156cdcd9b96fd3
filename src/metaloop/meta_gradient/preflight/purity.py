"""Check that a forward pass changes nothing and is repeatable."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from metaloop.episode import Examples
from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.cause import some, witness
from metaloop.meta_gradient.preflight.forward_check import module_of
from metaloop.meta_gradient.preflight.trial import SEED, Trial
from metaloop.meta_gradient.random_state import keep_random_state


def check_purity(trial: Trial, mode: str) -> bool:
    """Evaluate the support loss of two tasks, then the first one's again.

    `mode` names the model's mode in messages.

    Returns:
        whether the forward pass draws random numbers.

    Raises:
        UserError: if parameters, inputs or buffers change, the result depends on earlier
            evaluations, or gradient checkpointing is used.

    """
    model, name = trial.model, type(trial.model).__name__
    theta = {n: p.detach().clone() for n, p in trial.theta.items()}
    sets = [trial.task(number).support.map(torch.clone) for number in (0, 1)]
    given = {f"parameter {n}": p for n, p in theta.items()}
    given |= {f"task's {n}": t for n, t in _named(sets[0]).items()}
    held = _buffers(trial)
    before, stored = _snapshot({**given, **held}), attributes(model)
    losses, draws = [], False
    with witness() as seen, keep_random_state(trial.tasks.classes.device):
        for support in (sets[0], sets[1], sets[0]):
            torch.manual_seed(SEED)
            start = _random_state(trial)
            with torch.enable_grad():
                leaves = {n: p.detach().requires_grad_() for n, p in theta.items()}
                losses.append(trial.objective.support_loss(leaves, support).detach())
            draws = draws or not torch.equal(start, _random_state(trial))
    if "torch.utils.checkpoint" in seen:
        raise UserError(
            f"{name} uses torch.utils.checkpoint, which reruns a block in the backward pass, when "
            "the model no longer holds the adapted parameters: the gradient would be wrong. Remove "
            "it; algorithm.adjoint=recomputed saves memory and is exact."
        )
    now = {**given, **_buffers(trial)}
    _refuse_changed(name, mode, before, now)
    if not is_repeated(losses[0], losses[2]):
        _refuse_state(model, mode, stored)
    return draws


def is_repeated(one: Tensor, other: Tensor, *, rounds_alike: bool = True) -> bool:
    """Compare two evaluations of the same; some CUDA kernels add up in an order of their own."""
    tolerance = 1e-12 if rounds_alike and not one.is_cuda else 1e-5
    return bool(torch.isclose(one, other, rtol=tolerance, atol=0.0, equal_nan=True))


def draws_now(trial: Trial) -> bool:
    """Check whether the support loss draws random numbers in the model's current mode."""
    with keep_random_state(trial.tasks.classes.device), torch.no_grad():
        start = _random_state(trial)
        trial.objective.support_loss(trial.theta, trial.task(0).support)
        return not torch.equal(start, _random_state(trial))


def dropouts(model: nn.Module) -> str:
    """List the dropout layers of a model."""
    layers = [
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0
    ]
    return some(layers) or "its forward pass"


def refuse_twice(trial: Trial) -> None:
    """Refuse an adjoint that evaluates a loss twice if the model draws random numbers."""
    adjoint = trial.algorithm.describe().get("adjoint", type(trial.algorithm).__name__)
    raise UserError(
        f"adjoint={adjoint} evaluates each inner step again in the backward pass, so the model "
        f"must return the same support loss again; {type(trial.model).__name__} draws random "
        f"numbers in {dropouts(trial.model)}. Its gradient would mix different masks. Set "
        "algorithm.adjoint=unrolled, which is exact for the sampled masks, or the dropout to 0."
    )


def _refuse_changed(
    name: str, mode: str, before: dict[str, "_Kept"], now: dict[str, Tensor]
) -> None:
    changed = [n for n, kept in before.items() if n not in now or not kept.is_same(now[n])]
    buffers = [n.removeprefix("buffer ") for n in changed if n.startswith("buffer ")]
    others = [n for n in changed if not n.startswith("buffer ")]
    if others:
        raise UserError(
            f"{name} changes the {some(others)} in place in its forward pass ({mode}): a trained "
            "weight or the user's data would be overwritten. Write y = x * a instead of x.mul_(a), "
            "and remove what renormalises weights (max_norm of an embedding)."
        )
    if buffers:
        raise UserError(
            f"Buffers are constants of a meta-gradient, but {name} changes {some(buffers)} in its "
            f"forward pass ({mode}): one task would leak into the next. Keep that layer in eval() "
            "if that stops it, or use a layer without such state."
        )


def _refuse_state(model: nn.Module, mode: str, before: dict[str, object]) -> None:
    changed = changed_attributes(model, before)
    where = f"its attribute {some(changed)}" if changed else "something outside its parameters"
    raise UserError(
        f"{type(model).__name__} remembers earlier inputs ({mode}): {where} changes in the forward "
        "pass, and the loss of a task depends on the tasks before it; or it uses a random "
        "generator of its own, which the seed does not control. Compute everything from the "
        "current input, and use torch's generator."
    )


class _Kept(NamedTuple):
    tensor: Tensor
    value: Tensor
    version: int

    def is_same(self, now: Tensor) -> bool:
        if now is not self.tensor or now._version != self.version:
            return False
        return bool(torch.equal(now, self.value)) or bool(
            now.is_floating_point() and torch.allclose(now, self.value, 0, 0, equal_nan=True)
        )


def _snapshot(tensors: dict[str, Tensor]) -> dict[str, _Kept]:
    return {n: _Kept(t, t.detach().clone(), t._version) for n, t in tensors.items()}


def _buffers(trial: Trial) -> dict[str, Tensor]:
    """Collect the buffers of the model and of a loss that is a module."""
    loss = module_of(trial.objective.loss)
    of_loss = {f"buffer loss.{n}": b for n, b in loss.named_buffers()} if loss else {}
    return {f"buffer {n}": b for n, b in trial.model.named_buffers()} | of_loss


def attributes(model: nn.Module) -> dict[str, object]:
    """Collect tensors and numbers stored in modules that are not parameters or buffers."""
    return {
        f"{path}.{name}".lstrip("."): value.detach().clone() if isinstance(value, Tensor) else value
        for path, module in model.named_modules()
        for name, value in vars(module).items()
        if not name.startswith("_") and isinstance(value, Tensor | int | float)
    }


def changed_attributes(model: nn.Module, before: dict[str, object]) -> list[str]:
    """List the attributes that differ from those collected before."""
    now = attributes(model)
    changed = [n for n, value in before.items() if not _is_equal(value, now.get(n))]
    return changed + [n for n in now if n not in before]


def _is_equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return not isinstance(one, Tensor) and not isinstance(other, Tensor) and one == other


def _random_state(trial: Trial) -> Tensor:
    state = torch.get_rng_state()
    device = trial.tasks.classes.device
    if device.type == "cuda":
        state = torch.cat([state, torch.cuda.get_rng_state(device)])
    return state


def _named(examples: Examples) -> dict[str, Tensor]:
    inputs, targets = examples
    named = {"inputs": inputs} if isinstance(inputs, Tensor) else inputs
    return {**named, "targets": targets}
