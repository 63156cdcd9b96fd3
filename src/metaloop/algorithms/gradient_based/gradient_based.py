"""Algorithms that adapt by gradient steps: part x start x update x adjoint x outer loss."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.gradient_based.composition import check_composition
from metaloop.algorithms.gradient_based.outer_loss import OuterLoss, QueryLoss
from metaloop.algorithms.gradient_based.start import STARTS, Start, StartName
from metaloop.arguments import Count, CountOrZero
from metaloop.episode import Episode, Examples, Inputs
from metaloop.inner_loop import (
    ADJOINTS,
    FIRST_ORDER,
    Adjoint,
    AdjointName,
    Composition,
    InnerStep,
    Objective,
    Parameters,
    Part,
    Report,
    Update,
    adapt,
    own_scales_and_shifts,
    own_statistics,
    refuse_to_split,
    scales_and_shifts,
    select_part,
    tracking_loss,
)


@dataclass(frozen=True, kw_only=True)
class GradientBased(Algorithm):
    """Five independent pieces; most recipes in this package are a choice of them.

    Attributes:
        part: parameters that adapt: everything, head, body, context, or match:REGEX.
        start: where phi_0 lies: theta, or theta with its head at the support set's prototypes.
        update: one inner step, a chain of gradient transformations.
        adjoint: how the meta-gradient flows back through the steps.
        outer_loss: combines losses along the path into the meta-loss.
        inner_steps: K in meta-training; 0 where phi_0 has prototypes, which need no step.
        eval_inner_steps: K in evaluation.
        batch_size: support examples per step; None uses all.
        first_order_steps: number of first meta-steps without Hessians, whatever the adjoint
            (derivative-order annealing: Antoniou et al. 2019, arXiv:1810.09502).
        per_step_norm: learn scale and shift of every norm separately for each of phi_0 .. phi_K;
            they do not adapt (same paper).
        cg_steps: conjugate-gradient steps of adjoint=implicit.

    Raises:
        UserError: if pieces do not fit together, or the model lacks the part that adapts.

    Examples:
        >>> import torch
        >>> from metaloop import MLP, GradientBased, Momentum, Objective, StepSize, Update
        >>> algorithm = GradientBased(
        ...     objective=Objective(model=MLP(1, 1, hidden=[8]), loss=torch.nn.MSELoss()),
        ...     part="head",
        ...     update=Update([Momentum(0.9), StepSize(0.01)]),
        ...     adjoint="recomputed",
        ...     inner_steps=5,
        ...     eval_inner_steps=10,
        ... )
        >>> algorithm.names
        ('head.weight', 'head.bias')

    """

    objective: Objective
    update: Update
    inner_steps: CountOrZero
    eval_inner_steps: Count
    part: Part = "everything"
    start: StartName = "theta"
    adjoint: AdjointName = "unrolled"
    outer_loss: OuterLoss = field(default_factory=QueryLoss)
    batch_size: Count | None = None
    first_order_steps: CountOrZero = 0
    per_step_norm: bool = False
    cg_steps: Count | None = None

    def __post_init__(self) -> None:
        refuse_to_split(self.part, self.objective.shared_names())
        self.update.check(self.names)
        self._start.check(self.objective, self.inner_steps)
        self.outer_loss.check(self.inner_steps)
        check_composition(
            self._adjoint,
            Composition(
                anew=self._anew,
                update=self.update,
                outer_loss=type(self.outer_loss).__name__,
                differentiates_path=self.outer_loss.differentiates_path,
                reads_only_end=isinstance(self.outer_loss, QueryLoss),
                batch_size=self.batch_size,
                cg_steps=self.cg_steps,
                is_annealed=self.first_order_steps > 0,
                own=self._own_of_the_path(),
            ),
        )

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters that adapt."""
        fixed = self.objective.fixed_norm_parameters
        if self.per_step_norm:
            fixed = frozenset(scales_and_shifts(self.objective.model))
        movable = [n for n in self.objective.meta_parameters() if n not in fixed]
        return select_part(self.part, movable)

    @property
    def adapts_by(self) -> tuple[object, ...]:
        pieces = (self.update, self.names, self.batch_size, self.per_step_norm)
        return (*pieces, self.start, self.eval_inner_steps)

    @property
    def untrained(self) -> frozenset[str]:
        replaced = scales_and_shifts(self.objective.model) if self.per_step_norm else ()
        constant = self.names if self.part == "context" else ()
        return frozenset({*replaced, *constant, *self._start.replaced})

    @property
    def needs_second_derivative(self) -> bool:
        return self._adjoint.needs_second_derivative or self.update.reads_hessian

    @property
    def evaluates_twice(self) -> bool:
        return self._adjoint.evaluates_twice

    @property
    def needs_forward_mode(self) -> bool:
        return self._adjoint.needs_forward_mode or self.update.reads_hessian

    def own_parameters(self) -> dict[str, Tensor]:
        rows = self.objective.mode.rows_stored(self.inner_steps)
        statistics = own_statistics(self.objective, rows) if rows else {}
        return {**self._own_of_the_path(), **statistics}

    def adapt(self, meta: Parameters, support: Examples, steps: int) -> Iterator[Parameters]:
        theta, own = self.divide(meta)
        if self.part == "context":  # constant start: not meta-learned
            theta = {n: p.detach() if n in self.names else p for n, p in theta.items()}
        return adapt(
            self.objective,
            self._start(self.objective, theta, own, support),
            support,
            names=self.names,
            update=self.update,
            adjoint=self._adjoint,
            steps=steps,
            own=own,
            batch_size=self.batch_size,
        )

    def meta_loss(self, meta: Parameters, episode: Episode) -> tuple[Tensor, Report]:
        theta, own = self.divide(meta)
        start = meta
        if not self._adjoint.keeps_path:
            start = {name: p.detach() for name, p in meta.items()}
        path = self.adapt(start, episode.support, self.inner_steps)
        tracking: list[Tensor] = []
        if self.objective.mode.tracks_path and self.objective.norms:
            path = self._tracked(path, own, episode.support.inputs, tracking)
        loss, report = self._adjoint.meta_loss(
            InnerStep(self.objective, self.update),
            theta,
            path,
            episode,
            outer_loss=self.outer_loss,
            names=self.names,
            cg_steps=self.cg_steps,
        )
        return torch.stack([loss, *tracking]).sum(), report

    def at(self, meta_step: int) -> "GradientBased":
        outer_loss = self.outer_loss.at(meta_step)
        adjoint = FIRST_ORDER if meta_step < self.first_order_steps else self._adjoint
        if outer_loss is self.outer_loss and adjoint is self._adjoint:
            return self
        cg_steps = self.cg_steps if adjoint.takes_cg_steps else None
        return replace(self, outer_loss=outer_loss, adjoint=adjoint.name, cg_steps=cg_steps)

    @property
    def scheduled(self) -> tuple[float, ...]:
        return self.outer_loss.scheduled

    def with_scheduled(self, values: Sequence[float | Tensor]) -> "GradientBased":
        if not self.scheduled:
            return self
        return replace(self, outer_loss=self.outer_loss.with_scheduled(values))

    def describe(self) -> dict[str, float | int | str]:
        optional: dict[str, int | str | None] = {
            "start": self.start if self._start.replaced else None,
            "batch_size": self.batch_size,
            "cg_steps": self.cg_steps,
        }
        return {
            **super().describe(),
            **self.update.describe(),
            **{name: value for name, value in optional.items() if value is not None},
            "part": self.part,
            "adjoint": self.adjoint,
            "outer_loss": type(self.outer_loss).__name__,
            "per_step_norm": self.per_step_norm,
        }

    @property
    def _adjoint(self) -> Adjoint:
        return ADJOINTS[self.adjoint]

    @property
    def _start(self) -> Start:
        return STARTS[self.start]

    @property
    def _anew(self) -> tuple[str, ...]:
        """The pieces by which phi_0 is not theta."""
        context = ("part=context",) * (self.part == "context")
        return (*context, *((f"start={self.start}",) * bool(self._start.replaced)))

    def _own_of_the_path(self) -> dict[str, Tensor]:
        """Parameters learned by the gradient through the inner loop."""
        theta = self.objective.meta_parameters()
        parts = {name: theta[name].detach() for name in self.names}
        own = self.update.own_parameters(parts, self.inner_steps)
        if self.per_step_norm:
            own |= own_scales_and_shifts(self.objective, self.inner_steps + 1)
        return own

    def _tracked(
        self, path: Iterator[Parameters], own: Parameters, inputs: Inputs, losses: list[Tensor]
    ) -> Iterator[Parameters]:
        for row, phi in enumerate(path):
            losses.append(tracking_loss(self.objective, own, phi, row, inputs))
            yield phi
