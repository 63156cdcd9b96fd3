"""Adjoints: ways in which the meta-gradient flows back through the inner loop."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from metaloop.episode import Episode, Examples
from metaloop.errors import UserError
from metaloop.inner_loop.implicit import implicit_meta_loss
from metaloop.inner_loop.inner_step import InnerStep
from metaloop.inner_loop.objective import Objective, Parameters, Report
from metaloop.inner_loop.per_step import PER_STEP
from metaloop.inner_loop.recomputed import recompute
from metaloop.inner_loop.update import State, Update

AdjointName = Literal["unrolled", "recomputed", "first_order", "implicit"]
# a loss of (objective, theta, path, episode), with its report
PathLoss = Callable[[Objective, Parameters, Iterable[Parameters], Episode], tuple[Tensor, Report]]


class Composition(NamedTuple):
    """The pieces of an algorithm, as far as they may contradict each other."""

    anew: Sequence[str]  # the pieces by which phi_0 is not theta
    update: Update
    outer_loss: str  # name of its class
    differentiates_path: bool  # of the outer loss
    reads_only_end: bool  # the outer loss is the query loss at phi_K
    batch_size: int | None
    cg_steps: int | None
    is_annealed: bool  # first order at first, exact later
    own: Collection[str]  # extra parameters, learned by the gradient through the inner loop


class Adjoint:
    """The contract: one inner step, and the meta-loss at the end of the path.

    Attributes:
        name: its name in a config.
        evaluates_twice: whether the backward pass evaluates a step's loss again, so that the model
            must return the same value again.
        needs_forward_mode: whether it computes Hessian products by torch's forward mode.
        needs_second_derivative: whether it differentiates the support loss twice.
        keeps_path: whether the gradient flows back along phi_K .. phi_0. If not, the path is
            constant and the update's learned parameters get no gradient.
        takes_cg_steps: whether it solves a linear system in cg_steps steps.

    """

    name: ClassVar[AdjointName]
    evaluates_twice: ClassVar[bool] = False
    needs_forward_mode: ClassVar[bool] = False
    needs_second_derivative: ClassVar[bool] = True
    keeps_path: ClassVar[bool] = True
    takes_cg_steps: ClassVar[bool] = False

    def step(
        self,
        inner: InnerStep,
        state: State,
        theta: Parameters,
        own: Parameters,
        support: Examples,
        step: int,
    ) -> State:
        """Take one inner step; `own` holds the update's learned parameters."""
        raise NotImplementedError

    def meta_loss(
        self,
        inner: InnerStep,
        theta: Parameters,
        path: Iterator[Parameters],
        episode: Episode,
        *,
        outer_loss: PathLoss,
        names: Sequence[str],
        cg_steps: int | None,
    ) -> tuple[Tensor, Report]:
        """Compute the meta-loss of the path phi_0 .. phi_K: by default the outer loss."""
        return outer_loss(inner.objective, theta, path, episode)

    def check(self, pieces: Composition) -> None:
        """Refuse pieces that do not fit this adjoint.

        Raises:
            UserError: which pieces, why, and what to change.

        """
        if self.takes_cg_steps != (pieces.cg_steps is not None):
            raise UserError(
                f"adjoint=implicit and cg_steps belong together, but adjoint={self.name} and "
                f"cg_steps={pieces.cg_steps}. Set both, or neither."
            )


class Unrolled(Adjoint):
    """Exact: keep the graph of each step, and with it the Hessian."""

    name: ClassVar[AdjointName] = "unrolled"

    def step(
        self,
        inner: InnerStep,
        state: State,
        theta: Parameters,
        own: Parameters,
        support: Examples,
        step: int,
    ) -> State:
        gradient = inner.gradient(state.phi, theta, support)
        return inner.move(state, gradient, theta, own, support, step)


class Recomputed(Adjoint):
    """Exact: drop the graph of each step and recompute its derivative in the backward pass.

    Per step, memory grows by a copy of the adapted state and its gradient rather than by a graph.
    Compare Kemaev et al. 2025 (arXiv:2505.00793).
    """

    name: ClassVar[AdjointName] = "recomputed"
    evaluates_twice = True
    needs_forward_mode = True

    def step(
        self,
        inner: InnerStep,
        state: State,
        theta: Parameters,
        own: Parameters,
        support: Examples,
        step: int,
    ) -> State:
        return recompute(inner, state, theta, own, support, step)

    def check(self, pieces: Composition) -> None:
        super().check(pieces)
        if pieces.update.reads_hessian:
            raise UserError(
                "adjoint=recomputed differentiates updates that depend only on the gradient, but "
                "this one also reads the Hessian (Newton). Use adjoint=implicit or unrolled."
            )


class FirstOrder(Adjoint):
    """Biased: the gradient is treated as a constant, so all Hessians drop out.

    Finn et al. 2017 (arXiv:1703.03400), section 5.2, "first-order approximation". The update's
    learned parameters (step sizes) still get their exact gradient, given that constant.
    """

    name: ClassVar[AdjointName] = "first_order"
    needs_second_derivative = False

    def step(
        self,
        inner: InnerStep,
        state: State,
        theta: Parameters,
        own: Parameters,
        support: Examples,
        step: int,
    ) -> State:
        constant = {n: p.detach() for n, p in state.phi.items()}
        fixed = {n: p.detach() for n, p in theta.items()}
        gradient = inner.gradient(constant, fixed, support)
        at = {**fixed, **constant}
        return inner.move(state, gradient, theta, own, support, step, at=at)

    def check(self, pieces: Composition) -> None:
        super().check(pieces)
        rows = [name for name in pieces.own if name.startswith(PER_STEP)]
        if rows and pieces.differentiates_path and not pieces.is_annealed:
            raise UserError(
                f"per_step_norm learns a row of {rows[0]} for every inner step, but with "
                "adjoint=first_order the loss at phi_K only reaches the last row. Use "
                "adjoint=unrolled or recomputed, or per_step_norm=false."
            )


class Implicit(FirstOrder):
    """The meta-gradient at the minimum of a proximal inner problem; see implicit.py.

    The path to the minimum is computed in first order and treated as constant.
    """

    name: ClassVar[AdjointName] = "implicit"
    evaluates_twice = True
    needs_forward_mode = True
    needs_second_derivative = True
    keeps_path = False
    takes_cg_steps = True

    def meta_loss(
        self,
        inner: InnerStep,
        theta: Parameters,
        path: Iterator[Parameters],
        episode: Episode,
        *,
        outer_loss: PathLoss,
        names: Sequence[str],
        cg_steps: int | None,
    ) -> tuple[Tensor, Report]:
        assert cg_steps is not None
        for phi in path:
            end = phi
        return implicit_meta_loss(
            inner,
            theta,
            end,
            episode,
            names=names,
            strength=inner.update.strength,
            cg_steps=cg_steps,
        )

    def check(self, pieces: Composition) -> None:
        Adjoint.check(self, pieces)
        rule = "adjoint=implicit differentiates the minimum of a proximal inner problem"
        if pieces.update.strength <= 0:
            raise UserError(
                f"{rule}, but this update has no pull towards theta. Use algorithm=imaml, or "
                "add metaloop.TowardsTheta to the update."
            )
        shifting = [type(t).__name__ for t in pieces.update.chain if t.shifts_minimum]
        if shifting:
            raise UserError(
                f"{rule}, but {shifting[0]} moves the end away from it. Leave it out, or use "
                "adjoint=unrolled or recomputed."
            )
        if not pieces.reads_only_end:
            raise UserError(
                f"{rule} and sees only phi_K, so it does not fit {pieces.outer_loss}. Use the "
                "query loss at phi_K."
            )
        batch_size = ["batch_size"] if pieces.batch_size is not None else []
        if unfit := [*batch_size, *pieces.anew]:
            raise UserError(
                f"{rule} on the whole support set, starting at theta, so it does not fit "
                f"{unfit[0]}. Leave it out, or use adjoint=unrolled."
            )


UNROLLED, RECOMPUTED, FIRST_ORDER, IMPLICIT = Unrolled(), Recomputed(), FirstOrder(), Implicit()
ADJOINTS: dict[AdjointName, Adjoint] = {
    adjoint.name: adjoint for adjoint in (UNROLLED, RECOMPUTED, FIRST_ORDER, IMPLICIT)
}
