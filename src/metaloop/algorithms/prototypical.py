"""Prototypical networks, Snell, Swersky, Zemel 2017 (arXiv:1703.05175)."""

from metaloop.algorithms.linear_head import FittedHead, prototypes
from metaloop.episode import Examples
from metaloop.inner_loop import Parameters


class Prototypical(FittedHead):
    """The metric-learning baseline: the support set's class means form the head.

    With f the network below its head and c_n the mean of f over class n's support examples,

        p(n | x) = softmax_n(-|f(x) - c_n|^2)        (eq. 2)

    which is a linear head (section 2.4), so that the adapted learner is an ordinary phi.

    Deviation: the paper trains with more ways than it tests; here the ways are the task's.
    """

    def fit(self, theta: Parameters, own: Parameters, support: Examples) -> Parameters:
        return prototypes(self.objective, theta, support)

    def describe(self) -> dict[str, float | int | str]:
        return {**super().describe(), "distance": "squared euclidean"}
