"""Which of the pieces go together; the others are refused with the reason."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from metaloop.algorithms.gradient_based.outer_loss import OuterLoss, QueryLoss
from metaloop.errors import UserError
from metaloop.inner_loop import Adjoint, Composed, Update


class Composition(NamedTuple):
    """The pieces of an algorithm, as far as they may contradict each other."""

    anew: Sequence[str]  # the pieces by which phi_0 is not theta
    update: Update
    adjoint: Adjoint
    outer_loss: OuterLoss
    inner_steps: int
    batch_size: int | None
    cg_steps: int | None
    is_annealed: bool  # first order for a while, exact after
    own: Collection[str]  # what the gradient through the inner loop would learn beside theta


def check_composition(pieces: Composition) -> None:
    """Refuse pieces that together make no algorithm.

    Raises:
        UserError: what does not go together, why, and what to change.

    """
    outer_loss, adjoint = pieces.outer_loss, pieces.adjoint
    outer_loss.check(pieces.inner_steps)
    name = type(outer_loss).__name__
    adjoint.check(
        Composed(
            anew=pieces.anew,
            update=pieces.update,
            outer_loss=name,
            differentiates_path=outer_loss.differentiates_path,
            reads_end_alone=isinstance(outer_loss, QueryLoss),
            batch_size=pieces.batch_size,
            cg_steps=pieces.cg_steps,
            is_annealed=pieces.is_annealed,
            own=pieces.own,
        )
    )
    if not outer_loss.differentiates_path and pieces.anew:
        raise UserError(
            f"With {pieces.anew[0]} a task does not start at theta, which learns through the inner "
            f"loop then, and {name} does not differentiate that. Use a query loss."
        )
    if not outer_loss.differentiates_path and adjoint.needs_second_derivative:
        raise UserError(
            f"{name} does not differentiate through the inner loop: adjoint={adjoint.name} would "
            "change nothing. Use adjoint=first_order."
        )
    if pieces.own and not (outer_loss.differentiates_path and adjoint.keeps_path):
        way = name if adjoint.keeps_path else f"adjoint={adjoint.name}"
        raise UserError(
            f"{next(iter(pieces.own))} (one of {len(pieces.own)}) would never be learned: no "
            f"gradient reaches it through {way}. Take pieces that learn nothing of their own "
            "(StepSize, per_step_norm=false), or a query loss with adjoint=unrolled or recomputed."
        )
