"""A trained classifier for another number of classes: its logits masked, or another head."""

import copy
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from metaloop.algorithms import Algorithm
from metaloop.arguments import Count, Seed
from metaloop.errors import UserError
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.random_state import keep_random_state

Head = Literal["fresh", "mean"]
WEIGHT, BIAS = "head.weight", "head.bias"


def fit_ways(
    algorithm: Algorithm,
    meta: Parameters,
    *,
    outputs: int,
    ways: Count,
    head: Head | None,
    seed: Seed,
) -> tuple[Algorithm, dict[str, Tensor]]:
    """The algorithm and its parameters for a task of `ways` classes.

    Without `head` the trained one is kept: with fewer classes than its outputs the first `ways`
    logits alone count, in the support loss and in the predictions. `fresh` puts a head of `ways`
    randomly initialised rows in its place (Glorot's rule, zero biases); `mean` one whose every
    row is the mean of the trained rows. What the algorithm has learned for each row (step sizes)
    becomes the mean over rows.

    Raises:
        UserError: more classes than outputs without a `head`; or one that cannot be replaced.

    """
    if head is not None:
        return _with_head(algorithm, meta, ways, head, seed)
    if ways > outputs:
        raise UserError(
            f"The learner tells {outputs} classes apart, and the support set has {ways}. Choose "
            "head=mean (every row of the head the mean of the trained ones), head=fresh (rows "
            "initialised at random), or leave classes out."
        )
    return algorithm.judged_by(replace(algorithm.objective, ways=ways)), dict(meta)


def _with_head(
    algorithm: Algorithm, meta: Parameters, ways: int, head: Head, seed: int
) -> tuple[Algorithm, dict[str, Tensor]]:
    trained = _head_of(algorithm)
    if head == "mean" and not {WEIGHT, BIAS} & set(algorithm.names):
        raise UserError(
            "head=mean starts with equal rows, which only an inner loop that moves the head tells "
            "apart; in this run the head does not adapt. Choose head=fresh."
        )
    weight = meta.get(WEIGHT, trained.weight).detach()
    bias = None if trained.bias is None else meta.get(BIAS, trained.bias).detach()
    model = copy.deepcopy(algorithm.objective.model)
    model.head = _new_head(weight, bias, ways, head, seed)
    model.head.requires_grad_(trained.weight.requires_grad)
    other = algorithm.judged_by(replace(algorithm.objective, model=model, ways=None))
    with keep_random_state(weight.device):  # some algorithms draw their own parameters
        expected = other.own_parameters()
    own = {n: _fitted(meta[n], p.shape, n) for n, p in expected.items() if n in meta}
    theta = other.objective.meta_parameters()
    heads = {n: theta[n].detach() for n in (WEIGHT, BIAS) if n in theta}
    return other, {**meta, **own, **heads}


def _head_of(algorithm: Algorithm) -> nn.Linear:
    head = getattr(algorithm.objective.model, "head", None)
    if not isinstance(head, nn.Linear):
        raise UserError(
            "head=fresh and head=mean put a linear layer in place of the model's `head`, which is "
            f"{'missing' if head is None else type(head).__name__} in this run's. Use as many "
            "classes as it was trained on, or fewer."
        )
    if any({WEIGHT, BIAS} & set(names) for names in algorithm.objective.shared_names()):
        raise UserError(
            "The model uses its head's weights in other places too, so that it cannot be replaced. "
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
            chance = torch.Generator().manual_seed(seed)
            made.weight.copy_(nn.init.xavier_uniform_(rows, generator=chance))
        if bias is not None:
            made.bias.copy_(bias.mean() if head == "mean" else torch.zeros_like(made.bias))
    return made


def _fitted(value: Tensor, shape: torch.Size, name: str) -> Tensor:
    """What was learned for the rows of one head, for those of another: as if they had no order.

    A value a row becomes the mean over rows; a matrix over rows the means of its diagonal and of
    what is off it.
    """
    differing = [axis for axis, size in enumerate(value.shape) if size != shape[axis]]
    if not differing:
        return value
    if len(differing) == 1:
        return value.mean(differing[0], keepdim=True).expand(shape).clone()
    if value.ndim == 2 and value.shape[0] == value.shape[1] and shape[0] == shape[1]:
        rows = len(value)
        on = value.diagonal().mean()
        off = (value.sum() - value.diagonal().sum()) / (rows * (rows - 1))
        identity = torch.eye(shape[0], dtype=value.dtype, device=value.device)
        return off + (on - off) * identity
    raise UserError(
        f"The algorithm's {name} of shape {tuple(value.shape)} is not one for {shape[0]} classes. "
        "Use as many classes as the run was trained on, or fewer."
    )
