"""Statistics stored for every inner step, used only in evaluation."""

from metaloop.inner_loop.norm_modes.norm_mode import NormMode


class PerStep(NormMode):
    """The norms of MAML++: Antoniou et al. 2019 (arXiv:1810.09502), section 4.

    Meta-training normalises by the current batch and stores running averages, a row for each of
    phi_0 .. phi_K. Evaluation normalises by those.
    """

    name = "per_step"
    stores = True
    tracks_path = True

    def reads_stored(self, *, is_training: bool) -> bool:
        return not is_training

    def rows_stored(self, inner_steps: int) -> int:
        return inner_steps + 1

    def require_fixed(self, *, has_support: bool) -> None:
        """Accept every network: its statistics are stored."""
