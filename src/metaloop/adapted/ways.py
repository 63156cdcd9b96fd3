"""Adapt a trained classifier to another number of classes: mask its logits or replace its head."""

import copy
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from metaloop.algorithms import Algorithm
from metaloop.algorithms.linear_head import BIAS, WEIGHT
from metaloop.arguments import Count, Seed
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.random_state import keep_random_state

Head = Literal["fresh", "mean"]


def fit_ways(
    algorithm: Algorithm,
    meta: Parameters,
    *,
    outputs: int,
    ways: Count,
    head: Head | None,
    seed: Seed,
) -> tuple[Algorithm, dict[str, Tensor]]:
    """Return the algorithm and its parameters for a task of `ways` classes.

    Without `head` the trained head is kept. With fewer classes than outputs, only the first `ways`
    logits count, in the support loss and in predictions. `fresh` replaces the head by `ways`
    randomly initialised rows (Glorot's rule, zero biases); `mean` by rows that all equal the mean
    of the trained rows. Values that the algorithm has learned per row (step sizes) are averaged
    over rows.

    Raises:
        UserError: if there are more classes than outputs without a `head`, or the head cannot be
            replaced.

    """
    if head is not None:
        return _with_head(algorithm, meta, ways, head, seed)
    if ways > outputs:
        raise UserError(
            f"The learner has {outputs} classes, but the support set has {ways}. Choose "
            "head=mean (all rows of the head are the mean of the trained ones), head=fresh "
            "(randomly initialised rows), or leave classes out."
        )
    return algorithm.judged_by(replace(algorithm.objective, ways=ways)), dict(meta)


def _with_head(
    algorithm: Algorithm, meta: Parameters, ways: int, head: Head, seed: int
) -> tuple[Algorithm, dict[str, Tensor]]:
    trained = _head_of(algorithm)
    if head == "mean" and not {WEIGHT, BIAS} & set(algorithm.names):
        raise UserError(
            "head=mean starts with equal rows, which differ only if the inner loop adapts the "
            "head, but in this run the head does not adapt. Choose head=fresh."
        )
    weight = meta.get(WEIGHT, trained.weight).detach()
    bias = None if trained.bias is None else meta.get(BIAS, trained.bias).detach()
    model = copy.deepcopy(algorithm.objective.model)
    model.head = _new_head(weight, bias, ways, head, seed)
    model.head.requires_grad_(trained.weight.requires_grad)
    other = algorithm.judged_by(replace(algorithm.objective, model=model, ways=None))
    with keep_random_state(weight.device):  # some algorithms initialise parameters randomly
        expected = other.own_parameters()
    own = {n: _fit_to_shape(meta[n], p.shape, n) for n, p in expected.items() if n in meta}
    theta = other.objective.meta_parameters()
    heads = {n: theta[n].detach() for n in (WEIGHT, BIAS) if n in theta}
    # a head that had adapters has lost them
    return other, {n: p for n, p in {**meta, **own, **heads}.items() if n in theta | expected}


def _head_of(algorithm: Algorithm) -> nn.Linear:
    head = getattr(algorithm.objective.model, "head", None)
    if not isinstance(head, nn.Linear):
        raise UserError(
            "head=fresh and head=mean replace the model's linear `head`, which is "
            f"{'missing' if head is None else type(head).__name__} in this run. Use as many "
            "classes as it was trained on, or fewer."
        )
    if any({WEIGHT, BIAS} & set(names) for names in algorithm.objective.shared_names()):
        raise UserError(
            "The model also uses its head's weights elsewhere, so the head cannot be replaced. "
            "Use as many classes as the run was trained on, or fewer."
        )
    return head


def _new_head(weight: Tensor, bias: Tensor | None, ways: int, head: Head, seed: int) -> nn.Linear:
    made = nn.Linear(weight.shape[1], ways, bias is not None, weight.device, weight.dtype)
    with torch.no_grad():
        if head == "mean":
            made.weight.copy_(weight.mean(0).expand_as(made.weight))
        else:
            rows = torch.empty(made.weight.shape, dtype=weight.dtype)
            generator = torch.Generator().manual_seed(seed)
            made.weight.copy_(nn.init.xavier_uniform_(rows, generator=generator))
        if bias is not None:
            made.bias.copy_(bias.mean() if head == "mean" else torch.zeros_like(made.bias))
    return made


def _fit_to_shape(value: Tensor, shape: torch.Size, name: str) -> Tensor:
    """Fit values learned for one head's rows to another head's, independent of the rows' order.

    One value per row becomes the mean over rows. For a matrix over rows, the diagonal and the
    other elements become their means.
    """
    differing = [axis for axis, size in enumerate(value.shape) if size != shape[axis]]
    if not differing:
        return value
    if len(differing) == 1:
        return value.mean(differing[0], keepdim=True).expand(shape).clone()
    if value.ndim == 2 and value.shape[0] == value.shape[1] and shape[0] == shape[1]:
        rows = len(value)
        diagonal = value.diagonal().mean()
        rest = (value.sum() - value.diagonal().sum()) / (rows * (rows - 1))
        identity = torch.eye(shape[0], dtype=value.dtype, device=value.device)
        return rest + (diagonal - rest) * identity
    raise UserError(
        f"The algorithm's {name} of shape {tuple(value.shape)} cannot be fitted to "
        f"{shape[0]} classes. Use as many classes as the run was trained on, or fewer."
    )
