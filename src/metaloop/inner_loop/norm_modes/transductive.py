"""Each batch by its own statistics: most papers' choice."""

from metaloop.inner_loop.norm_modes.norm_mode import NormMode, NormModeName


class Transductive(NormMode):
    """The batch at hand's statistics: for the query set its own, all examples together."""

    name = "transductive"

    @property
    def for_one_example(self) -> NormModeName:
        return "inductive"  # a single example has none of its own

    def rows_at_once(self, rows: int, support: int, at_most: int) -> int:
        return rows
