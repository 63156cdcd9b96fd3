"""R2-D2: ridge regression as the inner loop."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.algorithms.linear_head import BIAS, WEIGHT, FittedHead, features, outputs_of
from metaloop.arguments import Positive
from metaloop.episode import Examples
from metaloop.inner_loop import Objective, Parameters

LOG_STRENGTH, SCALE, SHIFT = "ridge.log_strength", "ridge.scale", "ridge.shift"


class R2D2(FittedHead):
    """Ridge regression on the support set's features is the head, in closed form.

    Bertinetto, Henriques, Torr, Vedaldi 2019 (arXiv:1805.08136).

    With a row x_i = (f(x_i), 1) of X for each of the n support examples, f the network below its
    head, and one-hot labels Y, or a regression's targets (section 3.2):

        W = argmin |X W - Y|^2 / n + lambda |W|^2
          = X^T (X X^T + n lambda)^-1 Y = (X^T X + n lambda)^-1 X^T Y

    the smaller of the two systems. Of classes the logits are alpha x W + beta. Theta, lambda,
    alpha and beta descend the query loss together, through the solution.

    Deviations: lambda is learned as its logarithm, so that it stays positive; the authors' program
    keeps it at 50 unless told otherwise. The paper sums the squares, their program takes the mean,
    as here. A regression has no alpha and beta: its outputs are x W.

    Args:
        objective: model, loss and metrics.
        strength: where lambda starts.
        scale: where alpha starts; beta starts at 0.

    Raises:
        UserError: if the model has no linear `head`.

    Examples:
        >>> import torch
        >>> from metaloop import R2D2, Examples, Objective
        >>> network = torch.nn.Sequential()
        >>> network.add_module("head", torch.nn.Linear(1, 1))
        >>> objective = Objective(model=network, loss=torch.nn.MSELoss())
        >>> algorithm = R2D2(objective, strength=1e-9, scale=1.0)
        >>> x = torch.tensor([[0.0], [1.0], [2.0]])
        >>> meta = {**objective.meta_parameters(), **algorithm.own_parameters()}
        >>> *_, phi = algorithm.adapt(meta, Examples(x, 3 * x + 1), steps=1)
        >>> {name: round(p.item(), 2) for name, p in phi.items()}  # least squares
        {'head.weight': 3.0, 'head.bias': 1.0}

    """

    def __init__(self, objective: Objective, *, strength: Positive, scale: Positive) -> None:
        super().__init__(objective)
        self.strength, self.scale = strength, scale

    @property
    def adapts_by(self) -> tuple[object, ...]:
        return ()  # what it starts from has been learned

    def own_parameters(self) -> dict[str, Tensor]:
        like = next(self.objective.model.parameters())
        starts = {LOG_STRENGTH: math.log(self.strength), SCALE: self.scale, SHIFT: 0.0}
        return {name: like.new_tensor(start) for name, start in starts.items()}

    def fit(self, theta: Parameters, own: Parameters, support: Examples) -> Parameters:
        embedded = features(self.objective, theta, support.inputs)
        are_classes = not support.targets.is_floating_point()
        targets = support.targets.reshape(len(embedded), -1)
        if are_classes:
            targets = F.one_hot(support.targets, outputs_of(self.objective))
        strength = own[LOG_STRENGTH].exp()
        weight, bias = ridge(embedded, targets.to(embedded.dtype), strength)
        if are_classes:
            weight, bias = own[SCALE] * weight, own[SCALE] * bias + own[SHIFT]
        return {WEIGHT: weight, BIAS: bias}

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "regression": "ridge"}


def ridge(features: Tensor, targets: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias of least mean squares, with strength times the sum of their own squares.

    Shapes: features [n, f], targets [n, y]; weight [y, f], bias [y].
    """
    x, penalty = F.pad(features, (0, 1), value=1.0), len(features) * strength
    with torch.autocast(x.device.type, enabled=False):  # no solver in half precision
        if len(x) <= x.shape[1]:
            solution = x.T @ _solve(x @ x.T, penalty, targets)
        else:
            solution = _solve(x.T @ x, penalty, x.T @ targets)
    return solution[:-1].T, solution[-1]


def _solve(gram: Tensor, penalty: Tensor, right: Tensor) -> Tensor:
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    # positive definite: to look for an error would only make a GPU wait
    solution: Tensor = torch.linalg.solve_ex(gram + penalty * identity, right).result
    return solution
