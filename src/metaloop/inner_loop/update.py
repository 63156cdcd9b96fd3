"""One step of the inner loop: from phi_k and a gradient to phi_{k+1}."""

from collections.abc import Callable
from dataclasses import dataclass

from metaloop.inner_loop.objective import Parameters

Update = Callable[[Parameters, Parameters], Parameters]


@dataclass(frozen=True)
class GradientDescent:
    """phi - inner_lr * gradient: Finn et al. 2017, eq. 1.

    Attributes:
        inner_lr: alpha, the step size on the mean support loss.

    """

    inner_lr: float

    def __call__(self, phi: Parameters, gradient: Parameters) -> Parameters:
        return {name: p - self.inner_lr * gradient[name] for name, p in phi.items()}
