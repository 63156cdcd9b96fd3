"""Whether ours agrees with a published value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaloop.run.sweeps.sweep_table import over_values

RULE = (
    "Ours is the mean over seeds with Student's interval, or over the episodes of a single seed. "
    "Published intervals are closed: over episodes that draw the same examples again and again. A "
    "value agrees where its interval meets ours; one published without interval is taken to be as "
    "uncertain as ours is over as many episodes. Otherwise ours is above (better) or below (worse)."
)


@dataclass(frozen=True)
class Ours:
    """Our values of a metric, one a seed, each with the half-width of its interval over episodes.

    A value is None where the learner diverged.
    """

    means: Sequence[float | None]
    over_episodes: Sequence[float | None]

    @property
    def mean(self) -> float | None:
        """Over seeds; None where one diverged."""
        means = [m for m in self.means if m is not None]
        return over_values(means).mean if means and len(means) == len(self.means) else None

    @property
    def over_seeds(self) -> float | None:
        """Half of Student's 95 % interval over seeds; None of a single one."""
        means = [m for m in self.means if m is not None]
        return over_values(means).half_width if self.mean is not None else None

    @property
    def widest(self) -> float:
        """The widest interval over episodes."""
        return max((w for w in self.over_episodes if w is not None), default=0.0)


def judge(published: Mapping[str, object], ours: Ours, mode: str | None) -> str:
    """Compare by RULE.

    Args:
        published: its `mean`, and `ci95` where it has an interval.
        ours: see Ours.
        mode: whether min or max is the better value.

    Returns:
        agrees, above, below, or diverged.

    """
    if ours.mean is None:
        return "diverged"
    theirs, width = published["mean"], published.get("ci95", ours.widest)
    assert isinstance(theirs, int | float)
    assert isinstance(width, int | float)
    difference = ours.mean - theirs
    own = ours.widest if ours.over_seeds is None else ours.over_seeds
    if abs(difference) <= own + width:
        return "agrees"
    return "above" if (difference > 0) == (mode == "max") else "below"
