"""Normalise the query set by the support set's statistics: query examples stay independent."""

from torch import Tensor

from metaloop.episode import Inputs, concatenate_rows, count_rows
from metaloop.inner_loop.norm_modes.norm_mode import NormMode, Predict


class Inductive(NormMode):
    """The query set uses the support set's statistics, in one forward pass over both."""

    name = "inductive"

    def predict_query(self, predict: Predict, support: Inputs, query: Inputs) -> Tensor:
        seen = count_rows(support)
        return predict(concatenate_rows(support, query), seen)[seen:]

    def require_fixed(self, *, has_support: bool) -> None:
        if not has_support:
            super().require_fixed(has_support=False)
