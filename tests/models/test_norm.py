"""Our batch norm is batch norm, by the statistics that the norm mode names."""

import pytest
import torch
from torch import nn

from metaloop.models import BatchNorm, statistics_of_first

torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 4)])
def test_it_equals_torchs_on_batch_statistics(shape):
    ours, x = BatchNorm(3).double(), torch.randn(shape, dtype=torch.float64)
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](3).double()
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
        nn.init.constant_(norm.bias, -0.5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_statistics_of_the_first_rows_normalise_all_rows():
    norm, x = BatchNorm(2).double(), torch.randn(7, 2, dtype=torch.float64)
    mean, std = x[:3].mean(0), (x[:3].var(0, correction=0) + norm.eps).sqrt()
    with statistics_of_first(3):
        torch.testing.assert_close(norm(x), (x - mean) / std)
    torch.testing.assert_close(norm(x).mean(0), torch.zeros(2, dtype=torch.float64))
