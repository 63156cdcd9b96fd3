"""Check that the pieces of an algorithm fit together; refuse the others with the reason."""

from collections.abc import Collection
from typing import NamedTuple

from metaloop.algorithms.outer_loss import OuterLoss, QueryLoss
from metaloop.errors import UserError
from metaloop.inner_loop import Adjoint, Composed, Part, Update


class Composition(NamedTuple):
    """The pieces of an algorithm that may contradict each other."""

    part: Part
    update: Update
    adjoint: Adjoint
    outer_loss: OuterLoss
    inner_steps: int
    batch_size: int | None
    cg_steps: int | None
    is_annealed: bool  # first order at first, exact later
    own: Collection[str]  # extra parameters, learned by the gradient through the inner loop


def check_composition(pieces: Composition) -> None:
    """Refuse pieces that do not make an algorithm.

    Raises:
        UserError: which pieces do not fit, why, and what to change.

    """
    outer_loss, adjoint = pieces.outer_loss, pieces.adjoint
    outer_loss.check(pieces.inner_steps)
    name = type(outer_loss).__name__
    adjoint.check(
        Composed(
            part=pieces.part,
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
    if not outer_loss.differentiates_path and pieces.part == "context":
        raise UserError(
            "part=context meta-learns everything except the context, through the inner loop, but "
            f"{name} does not differentiate the inner loop. Use a query loss."
        )
    if not outer_loss.differentiates_path and adjoint.needs_second_derivative:
        raise UserError(
            f"{name} does not differentiate through the inner loop, so adjoint={adjoint.name} would "
            "have no effect. Use adjoint=first_order."
        )
    if pieces.own and not (outer_loss.differentiates_path and adjoint.keeps_path):
        blocker = name if adjoint.keeps_path else f"adjoint={adjoint.name}"
        raise UserError(
            f"{next(iter(pieces.own))} (one of {len(pieces.own)}) would never be learned: "
            f"{blocker} passes no gradient to it. Use pieces without learned parameters "
            "(StepSize, per_step_norm=false), or a query loss with adjoint=unrolled or recomputed."
        )
