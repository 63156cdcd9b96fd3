"""The last layer of a network, for algorithms that replace it."""

from abc import abstractmethod
from collections.abc import Iterator
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode, Examples, Inputs, count_rows
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters, Report

WEIGHT, BIAS = "head.weight", "head.bias"


class FittedHead(Algorithm):
    """An algorithm whose inner loop is one step: a head fitted to the support set.

    phi_0 = theta, with the model's own head where that is frozen; phi_1 has the fitted head; there
    is no second step. The meta-gradient flows through the fit into what the head is given.
    """

    def __init__(self, objective: Objective) -> None:
        linear_head(objective, type(self).__name__)
        self.objective = objective
        self.inner_steps = self.eval_inner_steps = 1

    @abstractmethod
    def fit(self, theta: Parameters, own: Parameters, support: Examples) -> Parameters:
        """Return the head: {WEIGHT: [outputs, features], BIAS: [outputs]}.

        `own` is what the algorithm learns beside theta.
        """

    @property
    def names(self) -> tuple[str, ...]:
        return (WEIGHT, BIAS)

    @property
    def untrained(self) -> frozenset[str]:
        return frozenset(self.names)

    @property
    def needs_second_derivative(self) -> bool:
        return False  # its inner loop takes no gradient

    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        theta, own = self.divide(meta)
        yield {**_head(self.objective), **theta}
        if steps:
            yield from repeat({**theta, **self.fit(theta, own, support)}, steps)

    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        *_, adapted = self.adapt(meta, episode.support, 1)
        return self.objective.judge_query(adapted, episode)

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "part": "head"}


def linear_head(objective: Objective, algorithm: str) -> nn.Linear:
    """Return the model's `head`.

    Raises:
        UserError: if there is none, or it is not a linear layer with a bias.

    """
    head = getattr(objective.model, "head", None)
    if not isinstance(head, nn.Linear) or head.bias is None:
        found = "none" if head is None else str(head)
        raise UserError(
            f"{algorithm} replaces the model's `head`, which must be a torch.nn.Linear with a "
            f"bias; it is {found}. Name the model's last layer `head`, or choose another algorithm."
        )
    return head


def outputs_of(objective: Objective) -> int:
    """Count the head's outputs; theta has none of a frozen head."""
    return len(_head(objective)[WEIGHT])


def _head(objective: Objective) -> dict[str, Tensor]:
    head = objective.model.get_submodule("head")
    return {f"head.{name}": p.detach() for name, p in head.named_parameters()}


def features(objective: Objective, theta: Parameters, inputs: Inputs) -> Tensor:
    """What the head is given: [rows, features], float32 or better.

    Raises:
        UserError: predictions are made of more than one call of the head, or of other rows.

    """
    given: list[Tensor] = []
    head = objective.model.get_submodule("head")
    hook = head.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    try:
        objective.predict(theta, inputs)
    finally:
        hook.remove()
    rows = count_rows(inputs)
    if [found.shape[:-1] for found in given] != [(rows,)]:
        raise UserError(
            f"A head fitted to {rows} examples is given a row of features of each, at once, but "
            f"the model's `head` was given {[tuple(found.shape) for found in given]}. Choose a "
            "task and a network whose predictions are the head's outputs, or another algorithm."
        )
    found = given[0]
    return found.float() if found.dtype in (torch.bfloat16, torch.float16) else found


def prototypes(objective: Objective, theta: Parameters, support: Examples) -> Parameters:
    """The head by which the distance to the mean of each class's features decides.

    -|f - c|^2 = 2 c.f - |c|^2 - |f|^2, and the last term is the same for all classes: weight 2 c_n
    and bias -|c_n|^2 (Snell et al. 2017, arXiv:1703.05175, section 2.4). Shots may differ from
    class to class.
    """
    if support.targets.is_floating_point():
        raise UserError(
            "Prototypes are means of classes, but the task's targets are numbers. Choose a task of "
            "classes, or for regression an algorithm without prototypes."
        )
    embedded = features(objective, theta, support.inputs)
    members = F.one_hot(support.targets, outputs_of(objective)).to(embedded.dtype)
    means = members.T @ embedded / members.sum(0).clamp(min=1)[:, None]
    return {WEIGHT: 2 * means, BIAS: -means.square().sum(1)}
