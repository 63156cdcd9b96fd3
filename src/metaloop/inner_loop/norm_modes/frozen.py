"""Stored statistics, in training and evaluation: for pretrained networks."""

from metaloop.inner_loop.norm_modes.norm_mode import NormMode


class Frozen(NormMode):
    """One row of statistics per norm, which training does not change."""

    name = "frozen"
    stores = True

    def reads_stored(self, *, is_training: bool) -> bool:
        return True

    def rows_stored(self, inner_steps: int) -> int:
        return 1

    def require_fixed(self, *, has_support: bool) -> None:
        """Accept every network: its statistics are stored."""
