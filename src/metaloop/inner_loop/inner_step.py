"""One step of the inner loop, without a word on how it is differentiated."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from metaloop.episode import Examples
from metaloop.inner_loop.hessian import hessian_product
from metaloop.inner_loop.objective import Objective, Parameters
from metaloop.inner_loop.update import State, Update


@dataclass(frozen=True)
class InnerStep:
    """From one state to the next: the support loss's gradient at phi_k, then the update.

    theta holds all of the model's learned parameters; those in state.phi adapt.
    """

    objective: Objective
    update: Update

    def gradient(self, phi: Parameters, theta: Parameters, support: Examples) -> Parameters:
        """Differentiate L(phi_k; support) in the parameters that adapt."""

        def loss(phi: Parameters) -> Tensor:
            return self.objective.support_loss({**theta, **phi}, support)

        return gradient_of(loss, phi, (*theta.values(), *support.tensors))

    def move(
        self,
        state: State,
        gradient: Parameters,
        theta: Parameters,
        own: Parameters,
        support: Examples,
        step: int,
        *,
        at: Parameters | None = None,
    ) -> State:
        """Update phi_k along the gradient; `at`, where a Hessian is taken if not at phi_k."""
        adapting = {n: theta[n] for n in state.phi}
        if not self.update.reads_hessian:
            return self.update(state, gradient, adapting, own, step)

        def hessian(v: Parameters) -> Parameters:
            here = {**theta, **state.phi} if at is None else at
            return hessian_product(self.gradient, here, support, v)

        return self.update(state, gradient, adapting, own, step, hessian)


def gradient_of(
    loss: Callable[[Parameters], Tensor], phi: Parameters, others: Iterable[Tensor] = ()
) -> Parameters:
    """Differentiate a loss at phi; `others` are what else it reads that may require a gradient.

    Where no transform is around, plain autograd does as torch.func.grad, without its layer over
    every operation, and takes what torch.func refuses.
    """
    if torch._C._are_functorch_transforms_active():
        return cast(Parameters, torch.func.grad(loss)(dict(phi)))
    tensors = (*phi.values(), *others)
    is_recorded = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    with torch.enable_grad():
        # views: nothing else of the loss that reads the same tensors counts
        here = {
            n: p.view_as(p) if is_recorded and p.requires_grad else p.detach().requires_grad_()
            for n, p in phi.items()
        }
        found = torch.autograd.grad(
            loss(here), list(here.values()), create_graph=is_recorded, materialize_grads=True
        )
    return dict(zip(here, found, strict=True))
