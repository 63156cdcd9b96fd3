"""Batch norm by the statistics that are asked for, exact under every transform."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from metaloop.errors import UserError
from metaloop.substitutes import BatchNorms, Substitutes, transforms
from metaloop.substitutes.normalise import normalise

torch.manual_seed(0)
DOUBLE = torch.float64


def layer_of(channels: int, dims: int = 2) -> nn.Module:
    made = (nn.BatchNorm1d if dims < 4 else nn.BatchNorm2d)(channels).double()
    nn.init.constant_(made.weight, 1.5)
    nn.init.constant_(made.bias, -0.5)
    return made


def under(layer: nn.Module, x: torch.Tensor, **norms: object) -> torch.Tensor:
    with Substitutes(BatchNorms({id(layer.running_mean): "norm"}, batch=len(x), **norms)):
        return torch.func.functional_call(layer, {"num_batches_tracked": None}, (x,))


@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5), (6, 3, 4, 4)])
def test_it_is_torchs_on_the_batchs_statistics_and_changes_no_buffer(shape):
    layer, x = layer_of(3, len(shape)), torch.randn(shape, dtype=DOUBLE)
    before = {name: b.clone() for name, b in layer.named_buffers()}
    found = under(layer, x)
    assert all(torch.equal(b, before[name]) for name, b in layer.named_buffers())
    torch.testing.assert_close(found, layer(x), rtol=1e-12, atol=1e-12)
    layer.eval()  # whose statistics are asked for is not the module's to say
    assert torch.equal(under(layer, x), found)


def test_statistics_of_the_first_rows_normalise_all_rows():
    layer, x = nn.BatchNorm1d(2).double(), torch.randn(7, 2, dtype=DOUBLE)
    mean, std = x[:3].mean(0), (x[:3].var(0, correction=0) + layer.eps).sqrt()
    torch.testing.assert_close(under(layer, x, rows=3), (x - mean) / std)


def test_stored_statistics_do_not_depend_on_the_batch():
    layer, x = layer_of(2), torch.randn(4, 2, dtype=DOUBLE)
    layer.running_mean[:], layer.running_var[:] = torch.tensor([1.0, -2.0]), 4.0
    expected = (x - layer.running_mean) / (4.0 + layer.eps) ** 0.5 * 1.5 - 0.5
    torch.testing.assert_close(under(layer, x, stored={"norm"}), expected)
    one_row = under(layer, x[:1], stored={"norm"})
    torch.testing.assert_close(one_row, expected[:1])


def test_measured_statistics_are_the_batchs_mean_and_biased_variance():
    layer, x, measured = layer_of(2), torch.randn(5, 2, dtype=DOUBLE), {}
    under(layer, x, measured=measured)
    torch.testing.assert_close(measured["norm"].mean, x.mean(0))
    torch.testing.assert_close(measured["norm"].variance, x.var(0, correction=0))


def test_one_value_per_channel_is_refused_but_one_image_has_several():
    with pytest.raises(UserError, match="single row, which has no statistics.*inductive"):
        under(layer_of(3), torch.randn(1, 3, dtype=DOUBLE))
    with pytest.raises(UserError, match="single row"):
        under(layer_of(3), torch.randn(4, 3, dtype=DOUBLE), rows=1)
    assert under(layer_of(3, 4), torch.randn(1, 3, 2, 2, dtype=DOUBLE)).std() > 0


def test_statistics_that_no_layer_names_are_used_as_the_call_says():
    x, w, b = torch.randn(4, 2, dtype=DOUBLE), torch.tensor([1.5, -2.0]), torch.tensor([0.5, 1.0])
    mean, variance = torch.tensor([1.0, -2.0], dtype=DOUBLE), torch.tensor([4.0, 0.25]).double()
    expected = (x - mean) / (variance + 1e-5).sqrt() * w + b
    with Substitutes(BatchNorms({})):
        functional = F.batch_norm(x, mean, variance, w.double(), b.double(), training=False)
        call = (x, w.double(), b.double(), mean, variance, False, 0.1, 1e-5, False)
        torch.testing.assert_close(torch.batch_norm(*call), expected)
    torch.testing.assert_close(functional, expected)


def test_running_statistics_that_are_written_outside_a_layer_are_not_hidden():
    x, mean, variance = torch.randn(4, 2), torch.zeros(2), torch.ones(2)
    with Substitutes(BatchNorms({})):
        F.batch_norm(x, mean, variance, training=True)
    torch.testing.assert_close(mean, 0.1 * x.mean(0))  # as a buffer, the check refuses it


def test_a_layer_in_train_whose_statistics_are_used_is_refused_by_name():
    layer, x = layer_of(2), torch.randn(4, 2, dtype=DOUBLE)
    stored = layer.running_mean, layer.running_var
    norms = BatchNorms({id(layer.running_mean): "norm"}, in_training=["norm"])
    with Substitutes(norms), pytest.raises(UserError, match=r"Set norm.eval\(\)"):
        F.batch_norm(x, *stored, training=False)


def test_leading_rows_of_a_folded_batch_are_refused():
    x = torch.randn(4, 5, 3, dtype=DOUBLE)
    norms = BatchNorms({}, rows=2, batch=len(x))
    with Substitutes(norms), pytest.raises(UserError, match="gets 20 rows of 4 examples"):
        F.batch_norm(x.flatten(0, 1), None, None, training=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_inputs_are_normalised_in_float32_and_cast_back(dtype):
    x = (100 + torch.randn(64, 2)).to(dtype)
    layer = nn.BatchNorm1d(2)
    expected = F.batch_norm(x.float(), None, None, training=True)
    found = under(layer, x)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)


def test_a_vmapped_second_derivative_is_exact_where_torchs_is_not():
    layer = nn.BatchNorm1d(4, track_running_stats=False).double()
    theta = {
        "weight": torch.ones(4, dtype=DOUBLE, requires_grad=True),
        "product": torch.randn(4, 4, dtype=DOUBLE, requires_grad=True),
    }
    x = torch.randn(3, 6, 4, dtype=DOUBLE)

    def meta_gradient(mode, is_vmapped):
        def inner(phi, x):
            with mode():
                scale = {"weight": phi["weight"]}
                y = torch.func.functional_call(layer, scale, (x @ phi["product"],))
                return y.sin().square().sum()

        def loss(x):
            phi = theta
            for _ in range(2):
                slope = torch.func.grad(inner)(phi, x)
                phi = {n: p - 0.1 * slope[n] for n, p in phi.items()}
            return inner(phi, x)

        losses = torch.func.vmap(loss)(x) if is_vmapped else torch.stack([loss(t) for t in x])
        return torch.autograd.grad(losses.sum(), theta["product"])[0]

    exact = meta_gradient(nullcontext, is_vmapped=False)
    ours = meta_gradient(lambda: Substitutes(BatchNorms({})), is_vmapped=True)
    torch.testing.assert_close(ours, exact, rtol=1e-10, atol=1e-12)
    assert (meta_gradient(nullcontext, is_vmapped=True) - exact).norm() > 0.1 * exact.norm()


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


def test_kernels_get_one_memory_format_in_forward_and_backward():
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


@pytest.mark.parametrize("tasks", [1, 4])
def test_which_kernel_normalises_changes_nothing(tasks, monkeypatch):
    layer, x = layer_of(3, 4), torch.randn(tasks, 6, 3, 4, 4, dtype=torch.float64)
    expected = torch.stack([layer(one) for one in x])
    for large in (transforms.LARGE, 1):
        monkeypatch.setattr(transforms, "LARGE", large)
        found = torch.func.vmap(lambda x: under(layer, x))(x)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(under(layer, x[0]), expected[0], rtol=1e-12, atol=1e-12)
