"""Check that an algorithm keeps its contract: what it returns, and that it changes nothing."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.cause import (
    first_line,
    layer_of,
    no_gradient,
    some,
)
from metaloop.meta_gradient.preflight.trial import Trial
from metaloop.meta_gradient.preflight.ways import distance, plain_meta_gradient

SAME = 1e-5  # relative: the algorithm is run in its own dtype
Result = TypeVar("Result")


def check_names(algorithm: Algorithm) -> None:
    """Refuse an algorithm without numbers of steps, or with a parameter named as the model's."""
    name = type(algorithm).__name__
    if missing := [n for n in ("inner_steps", "eval_inner_steps") if not hasattr(algorithm, n)]:
        raise UserError(f"The algorithm {name} has no {some(missing)}. Set both in its __init__.")
    if both := sorted(algorithm.own_parameters().keys() & algorithm.objective.parameter_names):
        raise UserError(
            f"The algorithm {name} and its model both have a parameter {some(both)}. Rename that "
            "layer of the model, or the algorithm's parameter."
        )


def check_contract(trial: Trial) -> bool:
    """Run `adapt` and `meta_loss` of an algorithm that is not metaloop's.

    Returns:
        whether they draw random numbers.

    Raises:
        UserError: what they return or change, and what the contract is.

    """
    name = type(trial.algorithm).__name__
    before = _values(trial)
    phis = _run(trial, "adapt", lambda: _adapt(trial))
    if len(phis) != 2 or any(not isinstance(phi, Mapping) for phi in phis):
        raise UserError(
            f"The algorithm {name} yields {len(phis)} learners from adapt(.., steps=1), but it "
            "must yield 2, phi_0 and phi_1, each a dict of all parameters by name."
        )
    _run(trial, "meta_loss", lambda: _check_loss(trial))
    first, second = (_run(trial, "meta_loss", lambda: plain_meta_gradient(trial)) for _ in range(2))
    now = _values(trial)
    if changed := [n for n, value in before.items() if not torch.equal(value, now[n])]:
        raise UserError(
            f"The algorithm {name} changes {some(changed)} in place, which the next task or step "
            "would see. Make new tensors: p - lr * g in place of p.sub_(lr * g)."
        )
    if not distance(second, first) <= SAME:
        raise UserError(
            f"The algorithm {name} gives another meta-gradient for the same tasks the second time: "
            "it remembers earlier tasks, or draws from a generator that is not torch's. Compute "
            "everything from meta and the episode."
        )
    return _draws(trial)


def _adapt(trial: Trial) -> list[object]:
    with trial.same_random_state(), torch.no_grad():
        return [*trial.algorithm.adapt(trial.meta, trial.task(0).support, 1)]


def _check_loss(trial: Trial) -> None:
    name, task = type(trial.algorithm).__name__, trial.task(0)
    with trial.same_random_state(), torch.enable_grad():
        leaves = {n: p.detach().requires_grad_() for n, p in trial.meta.items()}
        returned: object = trial.algorithm.meta_loss(leaves, task)
    rule = f"The algorithm {name} must return (loss, report) from meta_loss"
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise UserError(f"{rule}, but it returns a {type(returned).__name__}.")
    loss, report = returned
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        raise UserError(
            f"{rule}: the loss must be a scalar tensor whose gradient in meta is the "
            "meta-gradient, but it is constant or no scalar tensor. Leave out detach(), item() "
            "and torch.no_grad()."
        )
    odd = [n for n, v in report.items() if not isinstance(v, Tensor) or v.ndim]
    if odd or "query_loss" not in report:
        what = f"{some(odd)} is none" if odd else "query_loss is missing"
        raise UserError(f"{rule}: the report holds scalar tensors and query_loss, but {what}.")


def _draws(trial: Trial) -> bool:
    with trial.same_random_state():
        state = torch.get_rng_state()
        trial.algorithm.meta_loss(trial.meta, trial.task(0))
        return not torch.equal(state, torch.get_rng_state())


def _values(trial: Trial) -> dict[str, Tensor]:
    """Copy everything that an algorithm is given."""
    support, query, classes = trial.tasks
    given = {
        **{f"the model's {n}": p for n, p in trial.model.state_dict().items()},
        **{f"meta['{n}']": p for n, p in trial.meta.items()},
        **{f"the support set ({i})": t for i, t in enumerate(support.tensors)},
        **{f"the query set ({i})": t for i, t in enumerate(query.tensors)},
        "classes": classes,
    }
    return {name: tensor.detach().clone() for name, tensor in given.items()}


def _run(trial: Trial, method: str, function: Callable[[], Result]) -> Result:
    """Call a method of the algorithm; explain an error that does not come from the model."""
    try:
        return function()
    except UserError:
        raise
    except Exception as error:
        if layer_of(error, trial.model) or "not implemented" in str(error):
            raise no_gradient(trial.algorithm, error) from error
        hint = (
            "Evaluation adapts under torch.no_grad(), to parameters that require no gradient: take "
            "gradients by torch.func.grad"
            if method == "adapt"
            else "It takes (meta, episode) of one task"
        )
        raise UserError(
            f"The algorithm {type(trial.algorithm).__name__} fails in {method}: "
            f"{first_line(error)}. {hint}."
        ) from error
