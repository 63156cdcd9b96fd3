"""The shipped networks have the papers' shapes, a body and a head."""

from itertools import pairwise

import pytest
import torch

from metaloop.errors import UserError
from metaloop.models import MLP, Conv4, ResNet12, WideResNet


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


def test_resnet12_is_the_few_shot_papers_network():
    model = ResNet12((3, 84, 84), 5, widths=[64, 160, 320, 640])
    sizes = [3, 64, 160, 320, 640]
    weights = sum(
        9 * (i * o + o * o + o * o) + i * o + 4 * 2 * o  # three 3x3, one 1x1, four norms
        for i, o in pairwise(sizes)
    )
    assert count(model) == weights + 640 * 5 + 5
    assert 12.4e6 < count(model) < 12.5e6  # the 12.4 million that papers name
    with torch.no_grad():
        assert model.body[:-1](torch.randn(1, 3, 84, 84)).shape == (1, 640, 5, 5)


def test_wide_resnet_28_10_is_the_papers_network():
    model = WideResNet((3, 32, 32), 10, depth=28, width=10)
    # table 1 counts 36.5 million; 28 layers: the stem, 24 in blocks, 2 shortcuts more, the head
    assert round(count(model) / 1e6, 1) == 36.5
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len([c for c in convolutions if c.kernel_size == (3, 3)]) == 25
    assert len([c for c in convolutions if c.kernel_size == (1, 1)]) == 3
    assert model.head.in_features == 640


@pytest.mark.parametrize("size", [16, 28, 33, 84])
def test_the_residual_networks_take_images_of_any_size(size):
    images = torch.randn(3, 1, size, size + 4)
    shape = tuple(images.shape[1:])
    assert ResNet12(shape, 4, widths=[3, 4, 5, 6])(images).shape == (3, 4)
    assert WideResNet(shape, 4, depth=10, width=1)(images).shape == (3, 4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ResNet12((5,), 5, widths=[4, 4, 4, 4]), r"ResNet12 needs images.*shape \(5,\)"),
        (lambda: ResNet12((3, 8, 8), 5, widths=[4, 4, 4, 4]), "needs 16 x 16 .* not 8 x 8.*conv4"),
        (
            lambda: WideResNet((3, 8, 8), 5, depth=12, width=1),
            "28 ..\\), not 12. Change model.depth",
        ),
    ],
)
def test_the_residual_networks_refuse_what_does_not_fit(make, says):
    with pytest.raises(UserError, match=says):
        make()
