"""The last layer of a classifier, for algorithms that put another in its place."""

import torch
from torch import Tensor, nn

from metaloop.episode import Inputs
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters

WEIGHT, BIAS = "head.weight", "head.bias"


def linear_head(objective: Objective, algorithm: str) -> nn.Linear:
    """The model's `head`.

    Raises:
        UserError: it has none, or one that is no linear layer with a bias.

    """
    head = getattr(objective.model, "head", None)
    if not isinstance(head, nn.Linear) or head.bias is None:
        found = "none" if head is None else str(head)
        raise UserError(
            f"{algorithm} puts a linear layer of its own in place of the model's `head`, which "
            f"has to be a torch.nn.Linear with a bias; it is {found}. Name the model's last layer "
            "`head`, or choose another algorithm."
        )
    return head


def features(objective: Objective, theta: Parameters, inputs: Inputs) -> Tensor:
    """What the head is given: [rows, features], by the identity in the head's place."""
    size = theta[WEIGHT].shape[1]
    identity = torch.eye(size, dtype=theta[WEIGHT].dtype, device=theta[WEIGHT].device)
    nothing = torch.zeros_like(identity[0])
    return objective.predict({**theta, WEIGHT: identity, BIAS: nothing}, inputs)
