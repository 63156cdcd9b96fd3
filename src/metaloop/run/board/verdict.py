"""Judge whether our value agrees with a published one."""

from collections.abc import Sequence
from dataclasses import dataclass

from metaloop.run.config.published import Published
from metaloop.run.sweeps.sweep_table import over_values

RULE = (
    "Ours is the mean over seeds with Student's interval, or over the episodes of a single seed. "
    "Published intervals are closed: over episodes that draw the same examples again and again. A "
    "value agrees if its interval overlaps ours; a value without an interval gets the width of our "
    "interval over episodes. Otherwise ours is above (better) or below (worse)."
)


@dataclass(frozen=True)
class OverSeeds:
    """Our values of a metric, one per seed, with the half-widths of their intervals over episodes.

    A value is None if the learner diverged.
    """

    means: Sequence[float | None]
    over_episodes: Sequence[float | None]

    @property
    def mean(self) -> float | None:
        """The mean over seeds; None if one diverged."""
        means = [m for m in self.means if m is not None]
        return over_values(means).mean if means and len(means) == len(self.means) else None

    @property
    def half_width(self) -> float | None:
        """Half-width of Student's 95 % interval over seeds; None for a single seed."""
        means = [m for m in self.means if m is not None]
        return over_values(means).half_width if self.mean is not None else None

    @property
    def widest(self) -> float:
        """Half-width of the widest interval over episodes."""
        return max((w for w in self.over_episodes if w is not None), default=0.0)


def judge(published: Published, ours: OverSeeds, mode: str | None) -> str:
    """Compare by RULE.

    Args:
        published: the published value; without `ci95` it gets the width of our interval.
        ours: our values.
        mode: whether the min or the max is better.

    Returns:
        agrees, above, below, or diverged.

    """
    if ours.mean is None:
        return "diverged"
    width = published.get("ci95")
    theirs = ours.widest if width is None else width
    own = ours.widest if ours.half_width is None else ours.half_width
    difference = ours.mean - published["mean"]
    if abs(difference) <= own + theirs:
        return "agrees"
    return "above" if (difference > 0) == (mode == "max") else "below"
