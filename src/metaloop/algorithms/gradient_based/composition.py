"""Check that the pieces of an algorithm fit together; refuse the others with the reason."""

from metaloop.errors import UserError
from metaloop.inner_loop import Adjoint, Composition


def check_composition(adjoint: Adjoint, pieces: Composition) -> None:
    """Refuse pieces that do not make an algorithm.

    Raises:
        UserError: which pieces do not fit, why, and what to change.

    """
    adjoint.check(pieces)
    name = pieces.outer_loss
    if not pieces.differentiates_path and pieces.anew:
        raise UserError(
            f"With {pieces.anew[0]} a task does not start at theta, which is then learned through "
            f"the inner loop, but {name} does not differentiate the inner loop. Use a query loss."
        )
    if not pieces.differentiates_path and adjoint.needs_second_derivative:
        raise UserError(
            f"{name} does not differentiate through the inner loop, so adjoint={adjoint.name} "
            "would have no effect. Use adjoint=first_order."
        )
    if pieces.own and not (pieces.differentiates_path and adjoint.keeps_path):
        blocker = name if adjoint.keeps_path else f"adjoint={adjoint.name}"
        raise UserError(
            f"{next(iter(pieces.own))} (one of {len(pieces.own)}) would never be learned: "
            f"{blocker} passes no gradient to it. Use pieces without learned parameters "
            "(StepSize, per_step_norm=false), or a query loss with adjoint=unrolled or recomputed."
        )
