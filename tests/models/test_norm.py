"""Our batch norm is batch norm, by the statistics that the norm mode names."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from metaloop.models import BatchNorm, kernels, statistics_of_first
from metaloop.models.kernels import kernels_for
from metaloop.models.normalise import normalise

torch.manual_seed(0)


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 4)])
def test_it_equals_torchs_on_batch_statistics(shape):
    ours, x = BatchNorm(3).double(), torch.randn(shape, dtype=torch.float64)
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](3).double()
    for layer in (ours, theirs):
        nn.init.constant_(layer.weight, 1.5)
        nn.init.constant_(layer.bias, -0.5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)


def test_statistics_of_the_first_rows_normalise_all_rows():
    layer, x = BatchNorm(2).double(), torch.randn(7, 2, dtype=torch.float64)
    mean, std = x[:3].mean(0), (x[:3].var(0, correction=0) + layer.eps).sqrt()
    with statistics_of_first(3):
        torch.testing.assert_close(layer(x), (x - mean) / std)
    torch.testing.assert_close(layer(x).mean(0), torch.zeros(2, dtype=torch.float64))


def _case(*more):
    x = torch.randn(*more, 6, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    weight, bias = torch.randn(2, *more, 3, dtype=torch.float64).unbind()
    return x, weight.requires_grad_(), bias.requires_grad_()


def _primitives(x, weight, bias):
    wide = (slice(None), None, None)
    centred = x - x.mean((0, 2, 3))[wide]
    deviation = (centred.square().mean((0, 2, 3)) + 1e-5).sqrt()
    return centred / deviation[wide] * weight[wide] + bias[wide]


def _kernels(x, weight, bias):
    return normalise(x, weight, bias, 1e-5)


def test_the_derivatives_of_large_batches_are_what_differences_say():
    case = _case()
    torch.testing.assert_close(_kernels(*case), _primitives(*case), rtol=1e-12, atol=1e-12)
    assert torch.autograd.gradcheck(_kernels, case, check_undefined_grad=False)
    assert torch.autograd.gradgradcheck(_kernels, case, check_undefined_grad=False)


def _slopes(function):
    """What a meta-gradient is made of: the derivative of something of the derivatives."""

    def loss(x, weight, bias):
        return function(x, weight, bias).sin().sum()

    def of_slopes(x, weight, bias):
        to_x, to_weight, to_bias = torch.func.grad(loss, (0, 1, 2))(x, weight, bias)
        return to_x.pow(3).sum() + to_weight.square().sum() + to_bias.sin().sum()

    return of_slopes


@pytest.mark.parametrize("shared", ["", "x", "weight", "bias"])
def test_the_second_derivative_of_large_batches_is_exact_under_vmap(shared):
    names = ("x", "weight", "bias")
    case = [t[0] if n == shared else t for n, t in zip(names, _case(2), strict=True)]
    dims = tuple(None if n == shared else 0 for n in names)
    found, expected = (
        torch.func.vmap(torch.func.grad(_slopes(f), (0, 1, 2)), dims)(*case)
        for f in (_kernels, _primitives)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_third_derivative_of_large_batches_is_exact():
    case = _case()
    thirds = []
    for function in (_kernels, _primitives):
        second = torch.func.grad(_slopes(function), (0, 1))
        total = sum(t.square().sum() for t in second(*case))
        thirds.append(torch.autograd.grad(total, case))
    for one, other in zip(*thirds, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


class KernelsOrders(TorchDispatchMode):
    """Which of the images that the derivative's kernel is called with lie channels last."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        if function is torch.ops.aten.native_batch_norm_backward.default:
            last = torch.channels_last
            self.seen.append(tuple(t.is_contiguous(memory_format=last) for t in arguments[:2]))
        return function(*arguments, **(named or {}))


def test_the_kernels_meet_one_order_in_memory_whatever_comes_back():
    """Where two orders meet, torch's kernels are many times slower."""
    x, weight, bias = _case()
    found = []
    for order in (torch.contiguous_format, torch.channels_last):
        images = x.detach().contiguous(memory_format=order).requires_grad_()
        y = _kernels(images, weight, bias)
        back, more = (torch.randn(y.shape, generator=generator(n)).double() for n in (1, 2))
        with KernelsOrders() as orders:
            (first,) = torch.autograd.grad(y, images, back.requires_grad_(), create_graph=True)
            found.append((first, *torch.autograd.grad(first, (images, back), more)))
        is_last = order is torch.channels_last
        assert orders.seen == [(is_last, is_last)] * 3
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("tasks", [0, 1, 4])
def test_which_kernel_normalises_changes_nothing(tasks, monkeypatch):
    layer, x = BatchNorm(3).double(), torch.randn(6, 3, 4, 4, dtype=torch.float64)
    expected = layer(x)
    for large in (kernels.LARGE, 1):
        monkeypatch.setattr(kernels, "LARGE", large)
        with kernels_for(tasks):
            torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
