"""Stored statistics, in training and evaluation: pretrained networks."""

from metaloop.inner_loop.norm_modes.norm_mode import NormMode


class Frozen(NormMode):
    """One row of statistics for each norm, which no training changes."""

    name = "frozen"
    stores = True

    def reads_stored(self, *, is_training: bool) -> bool:
        return True

    def rows_stored(self, inner_steps: int) -> int:
        return 1

    def require_fixed(self, *, has_support: bool) -> None:
        """Allow it: the statistics are there."""
