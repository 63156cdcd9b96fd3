"""Matrix products and convolutions round alike, and what was set before comes back."""

from contextlib import suppress

import pytest
import torch

from metaloop.process.products import keep_rounding, round_products


def rounding():
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("precision", "is_rounded"), [("highest", False), ("high", True), ("medium", True)]
)
def test_convolutions_round_where_matrix_products_do(precision, is_rounded):
    with keep_rounding():
        round_products(precision)
        assert rounding() == (precision, is_rounded)


@pytest.mark.parametrize("before", [("highest", True), ("high", False)])
def test_each_is_as_it_was_before_also_after_an_error(before):
    with keep_rounding():
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
        with suppress(KeyError), keep_rounding():
            round_products("medium")
            raise KeyError
        assert rounding() == before
