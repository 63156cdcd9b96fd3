"""Refuse what a loss or metric reads besides parameters, buffers, data and torch's random state."""

import random

import numpy as np
import torch
from torch import Tensor, nn

from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.cause import some
from metaloop.meta_gradient.preflight.purity import attributes, changed_attributes, is_repeated
from metaloop.meta_gradient.preflight.trial import Trial


def check_hidden_state(trial: Trial, fresh: Trial, given: nn.Module, mode: str) -> None:
    """Evaluate the support loss again and look for what else it depends on.

    Args:
        trial: a copy that has been evaluated before.
        fresh: a copy that has not.
        given: the model that they are copies of.
        mode: names the model's mode in messages.

    Raises:
        UserError: if it uses Python's or NumPy's random numbers, tensors to learn that are no
            parameters of the model, or a value that its first evaluation kept.

    """
    name = type(trial.model).__name__
    before = _other_random_states()
    theta = {n: p.detach().requires_grad_() for n, p in trial.theta.items()}
    first, second = (_learned_by(_loss(trial, theta, 0)) for _ in range(2))
    if _other_random_states() != before:
        raise UserError(
            f"{name} or its loss draws from Python's or NumPy's random numbers ({mode}), which all "
            "vectorised tasks would share. Draw them by torch (torch.rand(()) < p)."
        )
    own = {id(p) for p in theta.values()}
    kept = {id(leaf) for leaf in second}
    foreign = [leaf for leaf in first if id(leaf) in kept - own]
    if foreign:
        _refuse_foreign(trial, given, foreign, mode)
    _refuse_first_use(trial, fresh, mode)


def check_metrics(trial: Trial) -> None:
    """Refuse a metric whose value depends on its earlier calls.

    Raises:
        UserError: its name, and what to use instead.

    """
    objective, theta = trial.objective, trial.theta
    with torch.no_grad(), trial.same_random_state():
        supports = [trial.task(number).support for number in (0, 1)]
        predictions = [objective.predict_support(theta, s.inputs) for s in supports]
    for name in objective.metrics:
        values = []
        for number in (0, 1, 0):
            with trial.same_random_state():
                report = objective.judge(predictions[number], supports[number].targets)[1]
            values.append(report[name].detach())
        if not is_repeated(values[0], values[2]):
            raise UserError(
                f"The metric {name} remembers its earlier calls: the same predictions and targets "
                f"give {float(values[0]):.6g}, then {float(values[2]):.6g}. A metric must be a "
                "function of predictions and targets alone, such as those of "
                "torchmetrics.functional; metaloop averages over tasks."
            )


def _loss(trial: Trial, theta: dict[str, Tensor], number: int) -> Tensor:
    with trial.same_random_state(), torch.enable_grad():
        return trial.objective.support_loss(theta, trial.task(number).support)


def _learned_by(loss: Tensor) -> list[Tensor]:
    """List the leaves of a loss's graph: the tensors that a backward pass would reach."""
    leaves, seen, waiting = [], set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [parent for parent, _ in node.next_functions]
        if (leaf := getattr(node, "variable", None)) is not None:
            leaves.append(leaf)
    return leaves


def _refuse_foreign(trial: Trial, given: nn.Module, foreign: list[Tensor], mode: str) -> None:
    named = [*given.named_parameters(), *trial.model.named_parameters()]
    names = {id(p): name for name, p in named}
    listed = [names.get(id(leaf), f"a tensor of shape {list(leaf.shape)}") for leaf in foreign]
    raise UserError(
        f"{type(trial.model).__name__} or its loss reads {some(listed)} past the model's "
        f"parameters ({mode}), so an inner loop would neither adapt nor learn it. It may be held "
        "in a plain list or dict, by a lambda over self, as a bare tensor or from an earlier pass. "
        "Hold it as a parameter (nn.ModuleList, nn.ParameterList), write a method in place of a "
        "lambda, or make it a constant (requires_grad_(False))."
    )


def _refuse_first_use(trial: Trial, fresh: Trial, mode: str) -> None:
    """Compare a copy that was evaluated elsewhere before with one that was not."""
    theta = {n: 1.01 * p.detach() for n, p in trial.theta.items()}
    before = attributes(fresh.model)
    try:
        used, unused = (_loss(one, theta, 1).detach() for one in (trial, fresh))
    except Exception:  # these parameters lie outside of the loss's domain
        return
    if is_repeated(used, unused, rounds_alike=False):  # a copy lies elsewhere in memory
        return
    changed = changed_attributes(fresh.model, before)
    where = f" (its attribute {some(changed)})" if changed else ""
    raise UserError(
        f"{type(trial.model).__name__} keeps a value of its first forward pass{where} and uses it "
        f"in later ones ({mode}), although it depends on that pass's parameters or inputs. "
        "Compute it in every pass, or store it as a buffer when the model is made."
    )


def _other_random_states() -> tuple[object, ...]:
    _, key, position, *_ = np.random.get_state(legacy=True)
    return random.getstate(), np.asarray(key).tobytes(), position
