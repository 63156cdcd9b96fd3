"""Stored statistics move a tenth of the way to what a meta-step measured."""

import torch

from metaloop.training.running_averages import move_averages


def test_an_average_moves_by_its_gradient_and_leaves_none_to_an_optimizer():
    stored, measured = torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.tensor([2.0, 0.0])
    stored.grad = (stored - measured).detach()  # of |stored - measured|^2 / 2
    move_averages([stored])
    torch.testing.assert_close(stored.detach(), torch.tensor([0.9 + 0.2, 1.8]))
    assert stored.grad is None
