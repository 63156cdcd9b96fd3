"""Norms by the input's own statistics: equal to torch's, exact where tasks are vectorised."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from metaloop.substitutes import norms
from tests.substitutes.nesting import (
    Substituting,
    difference,
    hessian_product_forward,
    hessian_product_reverse,
    task_by_task,
    vectorised,
)

ROWS = {**norms.ALWAYS, **norms.VECTORISED}
EXACT = 1e-9
aten = torch.ops.aten


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MIX, SCALE, SHIFT = 0.5 * draw(5, 5), draw(6, seed=1), draw(6, seed=2)
XS = draw(3, 4, 6, 5, seed=3)  # tasks, rows, channels, positions
# (weights, x) -> outputs, each under another of the names by which a function is called
LAYER = {
    "functional": lambda w, x: F.layer_norm(x @ w[0], (6, 5), w[1].outer(w[2][:5])),
    "torch": lambda w, x: torch.layer_norm((x @ w[0]).mT, (6,), w[1], w[2], 1e-3),
    "native": lambda w, x: torch.native_layer_norm((x @ w[0]).mT, (6,), w[1], w[2], 1e-5)[0],
    "aten": lambda w, x: aten.layer_norm((x @ w[0]).mT, (6,), w[1], w[2]),
    "overload": lambda w, x: aten.layer_norm.default((x @ w[0]).mT, (6,), w[1], w[2]),
    "native aten": lambda w, x: aten.native_layer_norm((x @ w[0]).mT, (6,), w[1], w[2], 1e-5)[0],
    "native overload": lambda w, x: aten.native_layer_norm.default(
        (x @ w[0]).mT, (6,), w[1], w[2], 1e-5
    )[0],
    "of a weight": lambda w, x: x @ F.layer_norm(w[0], (5,), w[1][:5], w[2][:5]),
}
INSTANCE = {
    "functional": lambda w, x: F.instance_norm(x @ w[0], weight=w[1], bias=w[2]),
    "torch": lambda w, x: torch.instance_norm(
        x @ w[0], w[1], w[2], None, None, True, 0.1, 1e-3, False
    ),
    "aten": lambda w, x: aten.instance_norm(
        x @ w[0], w[1], w[2], None, None, True, 0.1, 1e-5, False
    ),
    "overload": lambda w, x: aten.instance_norm.default(
        x @ w[0], w[1], w[2], None, None, True, 0.1, 1e-5, False
    ),
}
# whatever the tasks share: the input, or scale and shift
SHARED = {
    "layer's input": lambda w, x: F.layer_norm(MIX, (5,), w[1][:5], w[2][:5]) * (x @ w[0])[:, :5],
    "layer's scale": lambda w, x: F.layer_norm(x @ w[0], (5,), MIX[0], MIX[1]) * w[1].dot(w[2]),
    "instance's input": lambda w, x: F.instance_norm(XS[0], None, None, w[1], w[2]) * (x @ w[0]),
    "instance's scale": lambda w, x: (
        F.instance_norm(x @ w[0], None, None, SCALE, SHIFT) * w[1].dot(w[2])
    ),
}
CASES = [*LAYER.items(), *INSTANCE.items()]
NAMES = [*(f"layer {name}" for name in LAYER), *(f"instance {name}" for name in INSTANCE)]


@pytest.mark.parametrize(("name", "norm"), CASES, ids=NAMES)
def test_a_vectorised_meta_gradient_is_the_plain_one(name, norm):
    theta = [MIX, SCALE, SHIFT]
    expected = task_by_task(norm, theta, XS)
    assert difference(vectorised(norm, ROWS, theta, XS), expected) < EXACT
    assert difference(vectorised(norm, {}, theta, XS), expected) > 1e-5, "torch's own is wrong"


@pytest.mark.parametrize("norm", SHARED.values(), ids=SHARED)
def test_what_tasks_share_may_be_either_side(norm):
    theta = [MIX, SCALE, SHIFT]
    assert difference(vectorised(norm, ROWS, theta, XS), task_by_task(norm, theta, XS)) < EXACT


@pytest.mark.parametrize(("name", "norm"), CASES, ids=NAMES)
def test_forward_mode_over_the_gradient_is_exact(name, norm):
    theta = [MIX, SCALE, SHIFT]
    found = hessian_product_forward(norm, ROWS, theta, XS[0])
    assert difference(found, hessian_product_reverse(norm, theta, XS[0])) < EXACT


def value_and_slope(function, x, weight, table):
    x, weight = (t.detach().requires_grad_() for t in (x, weight))
    with Substituting(table):
        y = function(x, weight)
    return (y, *torch.autograd.grad(y.float().pow(3).sum(), (x, weight)))


NORMS = {
    "layer": lambda x, w: F.layer_norm(x, (6,), w, w),
    "layer's shift": lambda x, w: F.layer_norm(x, [6], None, w),
    "instance": lambda x, w: F.instance_norm(x, weight=w[:4], bias=w[:4]),
    "group": lambda x, w: F.group_norm(x, 2, w[:4], w[:4]),
}


@pytest.mark.parametrize("table", [norms.ALWAYS, ROWS], ids=["always", "vectorised"])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_values_and_first_derivatives_are_torchs(norm, dtype, near, table):
    x, weight = (3 + draw(3, 4, 6)).to(dtype), draw(6, seed=1).to(dtype)
    found = value_and_slope(norm, x, weight, table)
    assert found[0].dtype == dtype
    assert difference(found, value_and_slope(norm, x, weight, {})) < near


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["layer", "layer's shift", "instance"])
def test_half_precision_is_rounded_once(kind, dtype):
    x, weight = (3 + draw(3, 4, 6)).to(dtype), draw(6, seed=1).to(dtype)
    norm = NORMS[kind]
    expected = value_and_slope(norm, x.float(), weight.float(), {})
    found, torchs = (value_and_slope(norm, x, weight, table) for table in (ROWS, {}))
    assert [t.dtype for t in found] == [dtype] * 3
    error, torchs_error = (difference([t.float() for t in y], expected) for y in (found, torchs))
    assert error < max(torch.finfo(dtype).eps, torchs_error)


def test_native_layer_norm_gives_the_statistics_too():
    expected = torch.native_layer_norm(XS, (6, 5), None, None, 1e-5)
    with Substituting(ROWS):
        found = torch.native_layer_norm(XS, (6, 5), None, None, 1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("table", [norms.ALWAYS, ROWS], ids=["always", "vectorised"])
@pytest.mark.parametrize("is_training", [True, False])
def test_running_statistics_are_read_and_never_written_to(table, is_training):
    norm = nn.InstanceNorm1d(6, affine=True, track_running_stats=True).double().train(is_training)
    norm.running_mean.copy_(SHIFT)
    norm.running_var.copy_(SCALE.exp())
    with Substituting(table):
        found = norm(XS[0])
    torch.testing.assert_close(norm.running_mean, SHIFT, rtol=0, atol=0)
    torch.testing.assert_close(norm.running_var, SCALE.exp(), rtol=0, atol=0)
    torch.testing.assert_close(found, norm(XS[0]))


@pytest.mark.parametrize("use_input_stats", [True, False])
def test_an_instance_norm_with_running_statistics_is_vectorised(use_input_stats):
    def norm(w, x):
        running = (SHIFT.clone(), SCALE.exp())
        return F.instance_norm(x @ w[0], *running, w[1], w[2], use_input_stats=use_input_stats)

    theta = [MIX, SCALE, SHIFT]
    expected = task_by_task(norm, theta, XS)
    assert difference(vectorised(norm, ROWS, theta, XS), expected) < EXACT


def test_a_norm_over_what_is_not_there_is_refused_as_torch_does():
    with Substituting(ROWS):
        with pytest.raises(ValueError, match=r"\[5\] does not fit an input of shape \[3, 6\]"):
            F.layer_norm(torch.zeros(3, 6), (5,))
        with pytest.raises(ValueError, match="more than one value per channel"):
            F.instance_norm(torch.zeros(3, 6, 1))


@pytest.mark.parametrize(
    "call",
    [F.group_norm, torch.group_norm, aten.group_norm, aten.group_norm.default],
    ids=["functional", "torch", "aten", "overload"],
)
def test_group_norm_takes_forward_mode_where_channels_come_last(call):
    images = draw(4, 6, 5, 5).to(memory_format=torch.channels_last)

    def network(w, x):
        y = call(F.conv2d(x, w[0], padding=1), 3, w[1], w[2])
        return y.contiguous()  # no view of the loss is at fault

    theta = [0.2 * draw(6, 6, 3, 3), SCALE, SHIFT]
    found = hessian_product_forward(network, ROWS, theta, images)
    assert difference(found, hessian_product_reverse(network, theta, images)) < EXACT
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        hessian_product_forward(network, {}, theta, images)
    with Substituting(ROWS):
        normed = call(images, 3)
    assert normed.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "norm",
    [
        lambda w, x: F.group_norm(x @ w[0], 3, w[1], w[2]),
        lambda w, x: F.rms_norm(x @ w[0], (5,), w[1][:5]) * w[2].sum(),
        lambda w, x: F.local_response_norm(x @ w[0], 3) * w[1].sum() + w[2].sum(),
        lambda w, x: F.normalize(x @ w[0], dim=-1) * w[1].sum() + w[2].sum(),
    ],
    ids=["group", "rms", "local response", "normalize"],
)
def test_torchs_own_are_exact_if_no_row_is_fully_masked(norm):
    theta = [MIX, SCALE, SHIFT]
    assert difference(vectorised(norm, ROWS, theta, XS), task_by_task(norm, theta, XS)) < EXACT
