"""A learned block-diagonal preconditioner of the inner gradient."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metaloop.inner_loop.objective import Parameters
from metaloop.inner_loop.transformations import Memory, Moment, Transformation

PREFIX = "curvature."


@dataclass(frozen=True)
class Curvature(Transformation):
    """Multiply every tensor's gradient by a learned matrix along each of its modes.

    For a convolution's gradient G of shape [out, in, kernel], with x_i the product along mode i,

        MC(G) = G x_3 M_kernel x_2 M_in x_1 M_out

    Park and Oliva 2019 (arXiv:1902.03356), eq. 10. A linear layer has no kernel mode, a bias or
    norm parameter one mode only. All matrices start as the identity.

    Own parameters, by the name of the parameter they turn:
        curvature.NAME.0 / .1 / .2   [size, size] of mode out, in, kernel positions
    """

    def __call__(
        self, direction: Parameters, memory: Memory, moment: Moment
    ) -> tuple[Parameters, Memory]:
        return {name: _turned(name, d, moment.own) for name, d in direction.items()}, memory

    def own_parameters(self, theta: Parameters, inner_steps: int) -> dict[str, Tensor]:
        return {
            f"{PREFIX}{name}.{mode}": torch.eye(size, dtype=p.dtype, device=p.device)
            for name, p in theta.items()
            for mode, size in enumerate(_modes(p).shape)
        }

    def describe(self) -> dict[str, float | int | str]:
        return {"preconditioner": "meta-curvature"}


def _modes(tensor: Tensor) -> Tensor:
    """The tensor with the positions of its kernel as one mode."""
    return tensor.flatten(2) if tensor.ndim > 2 else tensor


def _turned(name: str, gradient: Tensor, own: Parameters) -> Tensor:
    turned = _modes(gradient)
    for mode in range(turned.ndim):
        matrix = own[f"{PREFIX}{name}.{mode}"]
        turned = torch.tensordot(turned, matrix, dims=([0], [1]))  # its result goes last: a cycle
    return turned.reshape(gradient.shape)
