"""Which of the four pieces go together; the others are refused with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metaloop.algorithms.outer_loss import QueryLoss
from metaloop.errors import UserError
from metaloop.inner_loop import refuse_to_split

if TYPE_CHECKING:
    from metaloop.algorithms.gradient_based import GradientBased


def check_composition(algorithm: GradientBased) -> None:
    """Refuse pieces that together make no algorithm.

    Raises:
        UserError: what does not go together, why, and what to change.

    """
    refuse_to_split(algorithm.part, algorithm.objective.shared_names())
    algorithm.outer_loss.check(algorithm.inner_steps)
    if algorithm.adjoint == "implicit" or algorithm.cg_steps is not None:
        _check_implicit(algorithm)
    if algorithm.adjoint == "recomputed" and algorithm.update.reads_hessian:
        raise UserError(
            "adjoint=recomputed differentiates an update of the gradient alone, and this one also "
            "reads the Hessian (Newton). Use adjoint=implicit, or unrolled."
        )
    outer_loss = type(algorithm.outer_loss).__name__
    if not algorithm.outer_loss.differentiates_path and algorithm.adjoint != "first_order":
        raise UserError(
            f"{outer_loss} does not differentiate through the inner loop: "
            f"adjoint={algorithm.adjoint} would change nothing. Use adjoint=first_order."
        )
    reaches_own = algorithm.outer_loss.differentiates_path and algorithm.adjoint != "implicit"
    if not reaches_own and (idle := list(algorithm.own_of_the_path())):
        way = "adjoint=implicit" if algorithm.adjoint == "implicit" else outer_loss
        raise UserError(
            f"{idle[0]} (one of {len(idle)}) would never be learned: no gradient reaches it "
            f"through {way}. Take pieces that learn nothing of their own (StepSize, "
            "per_step_norm=false), or a query loss with adjoint=unrolled or recomputed."
        )


def _check_implicit(algorithm: GradientBased) -> None:
    rule = "adjoint=implicit differentiates the minimum of a proximal inner problem"
    if algorithm.adjoint != "implicit" or algorithm.cg_steps is None:
        raise UserError(
            f"adjoint=implicit and cg_steps belong together, but adjoint={algorithm.adjoint} and "
            f"cg_steps={algorithm.cg_steps}. Set both, or neither."
        )
    if algorithm.update.strength <= 0:
        raise UserError(
            f"{rule}: without a pull towards theta there is none. Take algorithm=imaml, or "
            "add metaloop.inner_loop.TowardsTheta to the update."
        )
    if not isinstance(algorithm.outer_loss, QueryLoss):
        raise UserError(
            f"{rule} and knows phi_K alone: {type(algorithm.outer_loss).__name__} does not go "
            "with it. Use the query loss at phi_K."
        )
    if algorithm.batch_size is not None or algorithm.part == "context":
        raise UserError(
            f"{rule} over the whole support set, which starts at theta: batch_size and "
            "part=context do not go with it. Leave them out, or use adjoint=unrolled."
        )
