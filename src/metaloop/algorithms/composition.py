"""Which of the four pieces go together; the others are refused with the reason."""

from collections.abc import Collection
from typing import NamedTuple

from metaloop.algorithms.outer_loss import OuterLoss, QueryLoss
from metaloop.errors import UserError
from metaloop.inner_loop import PER_STEP, AdjointName, Part, Update


class Composition(NamedTuple):
    """The pieces of an algorithm, as far as they may contradict each other."""

    part: Part
    update: Update
    adjoint: AdjointName
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
    pieces.outer_loss.check(pieces.inner_steps)
    if pieces.adjoint == "implicit" or pieces.cg_steps is not None:
        _check_implicit(pieces)
    if pieces.adjoint == "recomputed" and pieces.update.reads_hessian:
        raise UserError(
            "adjoint=recomputed differentiates an update of the gradient alone, and this one also "
            "reads the Hessian (Newton). Use adjoint=implicit, or unrolled."
        )
    if not pieces.outer_loss.differentiates_path and pieces.part == "context":
        raise UserError(
            "part=context meta-learns all but the context, through the inner loop, which "
            f"{type(pieces.outer_loss).__name__} does not differentiate. Use a query loss."
        )
    outer_loss = type(pieces.outer_loss).__name__
    if not pieces.outer_loss.differentiates_path and pieces.adjoint != "first_order":
        raise UserError(
            f"{outer_loss} does not differentiate through the inner loop: "
            f"adjoint={pieces.adjoint} would change nothing. Use adjoint=first_order."
        )
    reaches_own = pieces.outer_loss.differentiates_path and pieces.adjoint != "implicit"
    if pieces.own and not reaches_own:
        way = "adjoint=implicit" if pieces.adjoint == "implicit" else outer_loss
        raise UserError(
            f"{next(iter(pieces.own))} (one of {len(pieces.own)}) would never be learned: no "
            f"gradient reaches it through {way}. Take pieces that learn nothing of their own "
            "(StepSize, per_step_norm=false), or a query loss with adjoint=unrolled or recomputed."
        )
    rows = [name for name in pieces.own if name.startswith(PER_STEP)]
    if rows and pieces.adjoint == "first_order" and not pieces.is_annealed:
        raise UserError(
            f"per_step_norm learns a row of {rows[0]} for every inner step, and with "
            "adjoint=first_order the loss at phi_K reaches the last row alone. Use "
            "adjoint=unrolled or recomputed, or per_step_norm=false."
        )


def _check_implicit(pieces: Composition) -> None:
    rule = "adjoint=implicit differentiates the minimum of a proximal inner problem"
    if pieces.adjoint != "implicit" or pieces.cg_steps is None:
        raise UserError(
            f"adjoint=implicit and cg_steps belong together, but adjoint={pieces.adjoint} and "
            f"cg_steps={pieces.cg_steps}. Set both, or neither."
        )
    if pieces.update.strength <= 0:
        raise UserError(
            f"{rule}: without a pull towards theta there is none. Take algorithm=imaml, or "
            "add metaloop.TowardsTheta to the update."
        )
    shifting = [type(t).__name__ for t in pieces.update.chain if t.shifts_minimum]
    if shifting:
        raise UserError(
            f"{rule}, and {shifting[0]} ends elsewhere. Leave it out, or use adjoint=unrolled or "
            "recomputed."
        )
    if not isinstance(pieces.outer_loss, QueryLoss):
        raise UserError(
            f"{rule} and knows phi_K alone: {type(pieces.outer_loss).__name__} does not go with "
            "it. Use the query loss at phi_K."
        )
    if pieces.batch_size is not None or pieces.part == "context":
        raise UserError(
            f"{rule} over the whole support set, which starts at theta: batch_size and "
            "part=context do not go with it. Leave them out, or use adjoint=unrolled."
        )
