"""The last layer of a classifier, for algorithms that replace it."""

import torch
from torch import Tensor, nn

from metaloop.episode import Inputs
from metaloop.errors import UserError
from metaloop.inner_loop import Objective, Parameters

WEIGHT, BIAS = "head.weight", "head.bias"


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


def features(objective: Objective, theta: Parameters, inputs: Inputs) -> Tensor:
    """Compute the head's input, [rows, features], by replacing the head with the identity."""
    size = theta[WEIGHT].shape[1]
    identity = torch.eye(size, dtype=theta[WEIGHT].dtype, device=theta[WEIGHT].device)
    zeros = torch.zeros_like(identity[0])
    return objective.predict({**theta, WEIGHT: identity, BIAS: zeros}, inputs)
