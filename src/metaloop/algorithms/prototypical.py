"""Prototypical networks."""

from metaloop.algorithms.linear_head import FittedHead, prototypes
from metaloop.episode import Examples
from metaloop.inner_loop import Parameters


class Prototypical(FittedHead):
    """The metric-learning baseline: the support set's class means form the head.

    Snell, Swersky, Zemel 2017 (arXiv:1703.05175).

    With f the network below its head and c_n the mean of f over class n's support examples,

        p(n | x) = softmax_n(-|f(x) - c_n|^2)        (eq. 2)

    which is a linear head (section 2.4), so that the adapted learner is an ordinary phi.

    Deviation: the paper trains with more ways than it tests; here the ways are the task's.

    Raises:
        UserError: if the model has no linear `head`.

    Examples:
        >>> import torch
        >>> from metaloop import Examples, Objective, Prototypical
        >>> network = torch.nn.Sequential()
        >>> network.add_module("head", torch.nn.Linear(1, 2))
        >>> objective = Objective(model=network, loss=torch.nn.functional.cross_entropy)
        >>> support = Examples(torch.tensor([[1.0], [3.0], [6.0]]), torch.tensor([0, 0, 1]))
        >>> *_, phi = Prototypical(objective).adapt(objective.meta_parameters(), support, steps=1)
        >>> phi["head.weight"].flatten(), phi["head.bias"]  # 2 c and -c^2 for the means c = 2 and 6
        (tensor([ 4., 12.]), tensor([ -4., -36.]))

    """

    def fit(self, theta: Parameters, own: Parameters, support: Examples) -> Parameters:
        return prototypes(self.objective, theta, support)

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "distance": "squared euclidean"}
