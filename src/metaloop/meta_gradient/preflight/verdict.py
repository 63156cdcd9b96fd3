"""The pre-flight check's verdict: how the meta-gradient is computed, and what was tried."""

from dataclasses import dataclass, field

from metaloop.meta_gradient.meta_gradient import AtOnce


@dataclass(frozen=True)
class Tried:
    """One way to compute the meta-gradient, compared with plain autograd task by task.

    Attributes:
        way: its name.
        error: largest difference of a tensor, relative to the gradient's norm; None if it fails.
        reason: why it cannot be used; empty if it is exact.
        seconds: time of a meta-gradient of two tasks.

    """

    way: str
    error: float | None
    reason: str
    seconds: float

    @property
    def is_exact(self) -> bool:
        """True if the way can be used."""
        return not self.reason


@dataclass(frozen=True)
class Verdict:
    """The result of the check of a usable model; an unusable one raises UserError instead.

    Attributes:
        at_once: how the meta-batch is split and computed.
        checked: summary of the comparison, in one line.
        tried: the ways that were compared with plain autograd.
        notes: notes for the user, each in one line.
        slower: reasons why the requested way is not used, each in one line.

    Examples:
        >>> import torch
        >>> from metaloop import Objective, Sinusoid, check, maml
        >>> objective = Objective(model=torch.nn.Linear(1, 1), loss=torch.nn.MSELoss())
        >>> algorithm = maml(
        ...     objective, inner_lr=0.1, inner_steps=1, eval_inner_steps=5, adjoint="unrolled"
        ... )
        >>> verdict = check(algorithm, Sinusoid(shots=5, queries=5))
        >>> verdict.at_once["tasks_at_once"], [tried.way for tried in verdict.tried]
        ('all', ['all tasks vectorised', 'task by task'])

    """

    at_once: AtOnce
    checked: str
    tried: tuple[Tried, ...] = ()
    notes: tuple[str, ...] = ()
    slower: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        tasks, chunks = self.at_once["tasks_at_once"], self.at_once["chunks_at_once"]
        return f"Checked: {self.checked}. tasks_at_once={tasks}, chunks_at_once={chunks}."
