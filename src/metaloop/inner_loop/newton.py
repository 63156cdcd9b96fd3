"""Newton's direction, without forming a Hessian."""

from dataclasses import dataclass

from metaloop.inner_loop.hessian import Vector, conjugate_gradient
from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation


@dataclass(frozen=True)
class Newton(Transformation):
    """Divide the direction by H + damping, by conjugate gradient (Martens 2010, "Hessian-free").

    After TowardsTheta(lambda) and with damping = lambda, this is Newton's method on the proximal
    inner problem of iMAML (Rajeswaran et al. 2019, arXiv:1909.04630). H is the Hessian of the
    support loss.

    Examples:
        >>> import torch
        >>> from metaloop import Newton, StepSize, Update
        >>> update = Update([Newton(damping=1.0, cg_steps=1), StepSize(1.0)])
        >>> theta, gradient = {"w": torch.tensor([0.0])}, {"w": torch.tensor([8.0])}
        >>> def hessian(v):
        ...     return {"w": 3 * v["w"]}
        >>> update(update.start(theta), gradient, theta, {}, 0, hessian).phi["w"]  # -8 / (3 + 1)
        tensor([-2.])

    """

    damping: float
    cg_steps: int
    reads_hessian = True

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        hessian = moment.hessian
        assert hessian is not None

        def operator(v: Vector) -> Vector:
            curved = hessian(v)
            return {name: curved[name] + self.damping * v[name] for name in v}

        return conjugate_gradient(operator, direction, self.cg_steps), memory

    def describe(self) -> dict[str, float | int | str]:
        return {"inner_optimizer": f"newton(damping={self.damping}, cg_steps={self.cg_steps})"}
