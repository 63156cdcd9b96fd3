"""Normalise each query example by the statistics of the support set and that example."""

import torch
from torch import Tensor

from metaloop.episode import Inputs, concatenate_rows, map_inputs
from metaloop.errors import UserError
from metaloop.inner_loop.norm_modes.norm_mode import NormMode, Predict


class SupportPlusOne(NormMode):
    """The norms of Reptile: Nichol et al. 2018 (arXiv:1803.02999), section 6.1."""

    name = "support_plus_one"

    def predict_query(self, predict: Predict, support: Inputs, query: Inputs) -> Tensor:
        def predict_one(example: Inputs) -> Tensor:
            alone = map_inputs(lambda tensor: tensor[None], example)
            return predict(concatenate_rows(support, alone), None)[-1]

        try:
            return torch.func.vmap(predict_one, randomness="different")(query)
        except (UserError, torch.OutOfMemoryError):
            raise
        except RuntimeError as error:
            raise UserError(
                "norm_mode=support_plus_one predicts each query example in its own batch, all "
                f"vectorised, which this model does not allow: {error}. Use norm_mode=inductive, "
                "which also keeps query examples independent."
            ) from error

    def rows_at_once(self, rows: int, support: int, at_most: int) -> int:
        return max(1, at_most // (support + 1))  # each example carries the support set
