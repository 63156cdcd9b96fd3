"""How the meta-gradient flows back through the inner loop."""

from collections.abc import Callable
from typing import Literal

from metaloop.inner_loop.objective import Parameters

Adjoint = Callable[[Parameters], Parameters]
AdjointName = Literal["unrolled", "first_order"]


def unrolled(phi: Parameters) -> Parameters:
    """Exact: the inner gradient is taken at phi itself, so its Hessian is kept."""
    return phi


def first_order(phi: Parameters) -> Parameters:
    """Biased: the inner gradient is a constant of phi, so every Hessian drops out.

    Finn et al. 2017 (arXiv:1703.03400), section 5.2, "first-order approximation".
    """
    return {name: p.detach() for name, p in phi.items()}


ADJOINTS: dict[AdjointName, Adjoint] = {"unrolled": unrolled, "first_order": first_order}
