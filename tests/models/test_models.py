"""The shipped networks have the papers' shapes, a body and a head."""

import pytest
import torch

from metaloop.errors import UserError
from metaloop.models import MLP, Conv4


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_mlp_is_the_papers_sinusoid_network():
    model = MLP(1, 1, hidden=[40, 40], init_std=0.01)
    assert count(model) == (40 + 40) + (40 * 40 + 40) + (40 + 1)
    assert (
        max(float(p.detach().abs().max()) for n, p in model.named_parameters() if "weight" in n)
        <= 0.02
    )
    assert all(not p.any() for n, p in model.named_parameters() if n.endswith("bias"))


def test_mlp_takes_images_and_normalises_between_layers():
    model = MLP(784, 5, hidden=[256, 128, 64, 64], batch_norm=True)
    assert model(torch.randn(3, 1, 28, 28)).shape == (3, 5)
    weights = 784 * 256 + 256 * 128 + 128 * 64 + 64 * 64 + 64 * 5
    assert count(model) == weights + 2 * (256 + 128 + 64 + 64) + 5


@pytest.mark.parametrize(
    ("shape", "filters", "downsample", "head_inputs"),
    [
        ((1, 28, 28), 64, "stride", 64),  # Finn's Omniglot: mean over positions
        ((3, 84, 84), 32, "max_pool", 800),  # Finn's miniImageNet: 32 x 5 x 5
        ((1, 28, 28), 64, "max_pool", 64),
        ((3, 32, 32), 32, "max_pool", 128),
    ],
)
def test_conv4_is_the_papers_network(shape, filters, downsample, head_inputs):
    model = Conv4(shape, 5, filters=filters, downsample=downsample)
    assert model.head.in_features == head_inputs
    assert model(torch.randn(2, *shape)).shape == (2, 5)
    convolutions = 9 * filters * (shape[0] + 3 * filters)
    assert count(model) == convolutions + 4 * 2 * filters + head_inputs * 5 + 5


@pytest.mark.parametrize(
    ("shape", "downsample", "says"),
    [
        ((1,), "stride", r"shape \(1,\). Choose model=mlp"),
        ((1, 12, 12), "max_pool", "16 x 16 or more, not 12 x 12. Set model.downsample=stride"),
    ],
)
def test_conv4_refuses_inputs_that_do_not_fit(shape, downsample, says):
    with pytest.raises(UserError, match=says):
        Conv4(shape, 5, filters=8, downsample=downsample)
