"""The query set by the support set's statistics: no query example sees another."""

import torch
from torch import Tensor

from metaloop.inner_loop.norm_modes.norm_mode import NormMode, Predict


class Inductive(NormMode):
    """For the query set the support set's statistics, from one forward pass of both."""

    name = "inductive"

    def predict_query(self, predict: Predict, support: Tensor, query: Tensor) -> Tensor:
        return predict(torch.cat([support, query]), len(support))[len(support) :]

    def require_fixed(self, *, has_support: bool) -> None:
        if not has_support:
            super().require_fixed(has_support=False)
