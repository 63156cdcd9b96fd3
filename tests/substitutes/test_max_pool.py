"""Our max-pooling is torch's, in derivatives of any order, and keeps the order in memory."""

import pytest
import torch
from torch.nn import functional as F

from metaloop.substitutes import Substitutes, transforms
from metaloop.substitutes.max_pool import pool

torch.manual_seed(0)
LAST = torch.channels_last


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def theirs(x: torch.Tensor) -> torch.Tensor:
    return F.max_pool2d(x, 2)


def slopes(function):
    """What a meta-gradient is made of: the derivative of something of the derivatives."""

    def of_slopes(x):
        return torch.func.grad(lambda x: function(x).sin().sum())(x).pow(3).sum()

    return of_slopes


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_it_is_the_largest_value_of_each_window(size):
    x = images(3, 2, *size)
    windows = x[:, :, : size[0] // 2 * 2, : size[1] // 2 * 2].unfold(2, 2, 2).unfold(3, 2, 2)
    assert torch.equal(pool(x), windows.amax((4, 5)))


@pytest.mark.parametrize("size", [(4, 6), (5, 7)])
def test_its_derivatives_are_what_differences_say(size):
    x = images(2, 2, *size)
    assert torch.autograd.gradcheck(pool, x, check_undefined_grad=False)
    assert torch.autograd.gradgradcheck(pool, x, check_undefined_grad=False)


def test_only_one_of_equal_numbers_gets_the_derivative():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(pool(x).sum(), x)
    (expected,) = torch.autograd.grad(theirs(x).sum(), x)
    assert torch.equal(slope, expected)
    assert slope.sum() == 1


def test_a_third_derivative_is_torchs():
    x = images(2, 3, 4, 4)
    thirds = []
    for function in (pool, theirs):
        second = torch.func.grad(slopes(function))(x)
        thirds.append(torch.autograd.grad(second.square().sum(), x)[0])
    torch.testing.assert_close(*thirds)


def test_its_second_derivative_is_exact_under_vmap():
    x = images(3, 2, 2, 5, 4).detach()
    found = torch.func.vmap(torch.func.grad(slopes(pool)))(x)
    expected = torch.stack([torch.func.grad(slopes(theirs))(one) for one in x])
    torch.testing.assert_close(found, expected)


def test_large_images_of_one_task_stay_channels_last_in_every_derivative(monkeypatch):
    monkeypatch.setattr(transforms, "LARGE", 1)
    x = images(2, 3, 4, 6).detach().contiguous(memory_format=LAST).requires_grad_()
    with Substitutes():
        y = torch.nn.MaxPool2d(2)(x)
    (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.pow(3).sum(), x)
    for tensor in (y, first, second):
        assert tensor.is_contiguous(memory_format=LAST)
        assert not tensor.is_contiguous()


@pytest.mark.parametrize("large", [transforms.LARGE, 1])
@pytest.mark.parametrize(
    ("options", "size"),
    [({}, 2), ({"stride": 1}, 2), ({"padding": 1}, 2), ({"ceil_mode": True}, 2), ({}, 3)],
)
def test_whatever_pools_it_is_torchs(large, options, size, monkeypatch):
    monkeypatch.setattr(transforms, "LARGE", large)
    x = images(6, 3, 5, 4)
    with Substitutes():
        found = torch.nn.MaxPool2d(size, **options)(x)
    assert torch.equal(found, F.max_pool2d(x, size, **options))
    with Substitutes():
        values, places = F.max_pool2d(x, size, return_indices=True)
    assert torch.equal(values, F.max_pool2d(x, size))
    assert places.shape == values.shape
