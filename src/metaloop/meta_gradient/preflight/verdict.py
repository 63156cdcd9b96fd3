"""The pre-flight check's verdict: how the meta-gradient is computed, what was tried, and why."""

from dataclasses import dataclass, field

from metaloop.meta_gradient.meta_gradient import AtOnce


@dataclass(frozen=True)
class Tried:
    """One way to compute the meta-gradient, compared with plain autograd task by task.

    Attributes:
        way: in words.
        error: the largest difference of a tensor, relative to the gradient's norm; None if it
            fails.
        reason: why it cannot be taken; empty if it is exact.
        seconds: how long a meta-gradient of two tasks took.

    """

    way: str
    error: float | None
    reason: str
    seconds: float

    @property
    def is_exact(self) -> bool:
        """Whether the way may be taken."""
        return not self.reason


@dataclass(frozen=True)
class Verdict:
    """The result of the check of a model that can be used; another raises UserError instead.

    Attributes:
        at_once: how the meta-batch is to be split and computed.
        checked: what was compared, in one line.
        tried: the ways that were compared with plain autograd, fastest first.
        notes: what a user should know, each in one line.
        slower: why the way that was asked for is not taken, each in one line.

    """

    at_once: AtOnce
    checked: str
    tried: tuple[Tried, ...] = ()
    notes: tuple[str, ...] = ()
    slower: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        tasks, chunks = self.at_once["tasks_at_once"], self.at_once["chunks_at_once"]
        return f"Checked: {self.checked}. tasks_at_once={tasks}, chunks_at_once={chunks}."
