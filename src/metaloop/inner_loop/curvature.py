"""A learned block-diagonal preconditioner of the inner gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation

PREFIX = "curvature."


@dataclass(frozen=True)
class Curvature(Transformation):
    """Multiply each tensor's gradient by a learned matrix along each of its modes.

    For a convolution's gradient G of shape [out, in, kernel], with x_i the product along mode i,

        MC(G) = G x_3 M_kernel x_2 M_in x_1 M_out

    Park and Oliva 2019 (arXiv:1902.03356), eq. 10. A linear layer has no kernel mode, a bias or
    norm parameter a single mode. All matrices are initially the identity.

    Learned parameters, by the name of the parameter whose gradient they transform:
        curvature.NAME.0 / .1 / .2   [size, size] of mode out, in, kernel positions

    Examples:
        >>> import torch
        >>> from metaloop import Curvature, StepSize, Update
        >>> update = Update([Curvature(), StepSize(0.1)])
        >>> theta, gradient = {"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([1.0, 2.0])}
        >>> own = {"curvature.w.0": torch.tensor([[0.0, 1.0], [1.0, 0.0]])}  # learned: here a swap
        >>> update(update.start(theta), gradient, theta, own, step=0).phi["w"]
        tensor([-0.2000, -0.1000])

    """

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {name: _precondition(name, d, moment.own) for name, d in direction.items()}, memory

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        return {
            f"{PREFIX}{name}.{mode}": torch.eye(size, dtype=p.dtype, device=p.device)
            for name, p in theta.items()
            for mode, size in enumerate(_modes(p).shape)
        }

    def describe(self) -> dict[str, float | int | str]:
        return {"preconditioner": "meta-curvature"}


def _modes(tensor: Tensor) -> Tensor:
    """Flatten the kernel positions of a tensor into one mode."""
    return tensor.flatten(2) if tensor.ndim > 2 else tensor


def _precondition(name: str, gradient: Tensor, own: Parameters) -> Tensor:
    result = _modes(gradient)
    for mode in range(result.ndim):
        matrix = own[f"{PREFIX}{name}.{mode}"]
        # each product moves its mode to the end, so the order is restored after all modes
        result = torch.tensordot(result, matrix, dims=([0], [1]))
    return result.reshape(gradient.shape)
