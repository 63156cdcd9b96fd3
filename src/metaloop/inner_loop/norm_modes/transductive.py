"""Normalise each batch by its own statistics: the choice of most papers."""

from metaloop.inner_loop.norm_modes.norm_mode import NormMode, NormModeName


class Transductive(NormMode):
    """Use the current batch's statistics; the query set is one batch."""

    name = "transductive"

    @property
    def for_one_example(self) -> NormModeName:
        return "inductive"  # a single example has no statistics

    def rows_at_once(self, rows: int, support: int, at_most: int) -> int:
        return rows
