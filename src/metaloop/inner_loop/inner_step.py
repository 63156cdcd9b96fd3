"""One step of the inner loop, independent of how it is differentiated."""

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
    """One inner step: the support loss's gradient at phi_k, then the update.

    theta holds all of the model's learned parameters, state.phi those that adapt.
    """

    objective: Objective
    update: Update

    def gradient(self, phi: Parameters, theta: Parameters, support: Examples) -> Parameters:
        """Differentiate L(phi_k; support) with respect to the parameters that adapt."""

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
        """Update phi_k along the gradient; a Hessian is taken at `at`, by default phi_k."""
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
    """Differentiate a loss at phi; `others` are its other inputs that may require a gradient.

    Without an enclosing transform, plain autograd gives the same as torch.func.grad with less
    overhead, and also supports operations that torch.func refuses.
    """
    if torch._C._are_functorch_transforms_active():
        return cast(Parameters, torch.func.grad(loss)(dict(phi)))
    tensors = (*phi.values(), *others)
    is_recorded = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    with torch.enable_grad():
        # views, so that the loss's other uses of the same tensors do not count
        here = {
            n: p.view_as(p) if is_recorded and p.requires_grad else p.detach().requires_grad_()
            for n, p in phi.items()
        }
        found = torch.autograd.grad(
            loss(here), list(here.values()), create_graph=is_recorded, materialize_grads=True
        )
    return dict(zip(here, found, strict=True))
