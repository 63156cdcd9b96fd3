"""Attention: equal to torch's composition, which its fused kernels are not differentiable as."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from metaloop.errors import UserError
from metaloop.substitutes import attention, norms
from tests.substitutes.nesting import (
    Substituting,
    difference,
    hessian_product_forward,
    hessian_product_reverse,
    task_by_task,
    vectorised,
)

ALWAYS = attention.ALWAYS
ROWS = {**attention.ALWAYS, **norms.ALWAYS, **norms.VECTORISED}
EXACT = 1e-9
attend = F.scaled_dot_product_attention
aten = torch.ops.aten


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def composed():
    """Torch's own composition, for references; the flags are the process's, hence tests alone."""
    return sdpa_kernel(SDPBackend.MATH)


TOKENS, WIDTH = 5, 4
XS = draw(3, 2, 4, TOKENS, WIDTH)  # tasks, rows, heads, tokens, width
TO_QUERY, TO_VALUE = 0.5 * draw(WIDTH, WIDTH, seed=1), 0.5 * draw(WIDTH, WIDTH, seed=2)
SHOWN = draw(TOKENS, TOKENS, seed=3) > 0
SHOWN[1] = False  # a query that may look at nothing
SHOWN[2] = True
ADDED = draw(TOKENS, TOKENS, seed=4).masked_fill(~SHOWN, -torch.inf)
LOWEST = torch.zeros(TOKENS, TOKENS).double().masked_fill(~SHOWN, torch.finfo(torch.float64).min)
KINDS = {
    "plain": {},
    "boolean mask": {"attn_mask": SHOWN},
    "mask of rows": {"attn_mask": torch.stack([SHOWN, SHOWN.T])[:, None]},
    "additive mask": {"attn_mask": ADDED},
    "lowest finite mask": {"attn_mask": LOWEST},
    "causal": {"is_causal": True},
    "scale": {"scale": 0.3},
    "negative scale": {"scale": -0.3},
}


def attention_of(call=attend, **kind):
    return lambda w, x: call(x @ w[0], x, x @ w[1], **kind)


def grouped(w, x):
    return attend(x @ w[0], x[:, :2] * 2, (x @ w[1])[:, :2], is_causal=True, enable_gqa=True)


CASES = {
    **{name: attention_of(**kind) for name, kind in KINDS.items()},
    "no heads": lambda w, x: attend(x[0, 0] @ w[0], x[0, 0], x[1, 0] @ w[1], ADDED),
    "fewer queries": lambda w, x: attend((x @ w[0])[..., :2, :], x, x @ w[1], is_causal=True),
    "learnt mask": lambda w, x: attend(x, x, x @ w[1], (w[0] @ w[0])[0, 0] + ADDED) * w[0][0, 0],
    "mask of its task": lambda w, x: attend(x @ w[0], x, x @ w[1], x[0, 0] @ x[0, 0].mT > 0),
    "grouped": grouped,
    "narrow values": lambda w, x: attend(x @ w[0], x, (x @ w[1])[..., :3]),
    "tasks share the keys": lambda w, x: attend(x @ w[0], XS[0], XS[1] @ w[1], SHOWN),
    "tasks share the input": lambda w, x: attend(XS[0] @ w[0], XS[1], XS[2] @ w[1]) * x,
    "aten": attention_of(aten.scaled_dot_product_attention, attn_mask=SHOWN),
    "overload": attention_of(aten.scaled_dot_product_attention.default, attn_mask=SHOWN),
}


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
def test_a_meta_gradient_is_the_compositions(function):
    theta = [TO_QUERY, TO_VALUE]
    with composed():
        expected = task_by_task(function, theta, XS)
    assert difference(vectorised(function, ALWAYS, theta, XS), expected) < EXACT
    assert difference(task_by_task(function, theta, XS, ALWAYS), expected) < EXACT


@pytest.mark.parametrize("function", CASES.values(), ids=CASES)
def test_forward_mode_over_the_gradient_is_exact(function):
    theta = [TO_QUERY, TO_VALUE]
    with composed():
        expected = hessian_product_reverse(function, theta, XS[0])
    assert difference(hessian_product_forward(function, ALWAYS, theta, XS[0]), expected) < EXACT


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_torchs_own_has_no_second_derivative():
    with pytest.raises(RuntimeError, match="flash_attention.* is not implemented"):
        vectorised(lambda w, x: attend(x @ w[0], x, x @ w[1]), {}, [TO_QUERY, TO_QUERY], XS)


def value_and_slope(table, *inputs, **kind):
    inputs = [t.detach().requires_grad_() for t in inputs]
    with Substituting(table):
        y = attend(*inputs, **kind)
    return (y, *torch.autograd.grad(y.float().pow(3).sum(), inputs))


@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-13), (torch.float32, 2e-6)])
@pytest.mark.parametrize("name", KINDS)
def test_values_and_first_derivatives_are_torchs(name, dtype, near):
    kind, inputs = KINDS[name], [t.to(dtype) for t in XS]
    if (mask := kind.get("attn_mask")) is not None and mask.dtype == torch.float64:
        lowest = torch.finfo(dtype).min if mask is LOWEST else -torch.inf
        kind = {"attn_mask": mask.clamp(min=lowest).to(dtype)}
    found = value_and_slope(ALWAYS, *inputs, **kind)
    # the fused backward is wrong where a whole row is at the lowest number: it does not sum to 1
    with composed() if mask is LOWEST else nullcontext():
        expected = value_and_slope({}, *inputs, **kind)
    assert found[0].dtype == dtype
    assert difference(found, expected) < near


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["plain", "boolean mask", "additive mask", "causal"])
def test_half_precision_is_rounded_once(name, dtype):
    kind, inputs = KINDS[name], [t.to(dtype) for t in XS]
    if kind.get("attn_mask") is ADDED:
        kind = {"attn_mask": ADDED.to(dtype)}
    full = {k: v.float() if k == "attn_mask" and v.dtype == dtype else v for k, v in kind.items()}
    expected = value_and_slope({}, *(t.float() for t in inputs), **full)
    found = value_and_slope(ALWAYS, *inputs, **kind)
    assert [t.dtype for t in found] == [dtype] * 4
    assert difference([t.float() for t in found], expected) < torch.finfo(dtype).eps


def test_a_fully_masked_query_gets_zero():
    for mask in (SHOWN, ADDED, SHOWN[None, None]):
        y, *slopes = value_and_slope(ALWAYS, *XS, attn_mask=mask)
        assert (y[..., 1, :] == 0).all()
        assert not (y[..., 2, :] == 0).any()
        assert all(slope.isfinite().all() for slope in slopes)


def test_dropout_draws_what_torchs_draws():
    drawn = []
    for table in ({}, ALWAYS):
        torch.manual_seed(0)
        drawn.append(value_and_slope(table, *XS, dropout_p=0.5))
    assert difference(drawn[1], drawn[0]) < EXACT


def test_a_mask_beside_is_causal_is_refused_as_torch_does():
    with pytest.raises(RuntimeError, match="is_causal"), composed():
        attend(*XS, attn_mask=SHOWN, is_causal=True)
    with pytest.raises(UserError, match="one of them"), Substituting(ALWAYS):
        attend(*XS, attn_mask=SHOWN, is_causal=True)


class Called(nn.Module):
    """A module that is called with further arguments, made of its input."""

    def __init__(self, module, **further):
        super().__init__()
        self.module, self.further = module, further

    def forward(self, x):
        further = {k: v(x) if callable(v) else v for k, v in self.further.items()}
        outputs = self.module(x, **further)
        return outputs[0] if isinstance(outputs, tuple) else outputs


LATER = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
QUIET = {"dropout": 0.0, "batch_first": True, "dtype": torch.float64}


def attending(**further):
    own = {"kdim", "vdim", "bias", "add_bias_kv", "add_zero_attn", "batch_first"} & further.keys()
    options = {**QUIET, **{name: further.pop(name) for name in own}}
    same = {"key": lambda x: x, "value": lambda x: x}
    return Called(nn.MultiheadAttention(4, 2, **options), **{**same, **further})


def layer(**options):
    return nn.TransformerEncoderLayer(4, 2, 8, **QUIET, **options)


def is_padding(x):
    return (x[..., 0] > 0.5) & (torch.arange(TOKENS) > 0)


def networks():
    """Layers of torch.nn, in train() and in eval(), where torch takes fused and nested ways."""
    torch.manual_seed(0)
    stack = nn.TransformerEncoder(layer(), 2)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8, **QUIET), 1)
    return {
        "attention": attending(need_weights=False),
        "attention with weights": attending(),
        "attention, tokens first": attending(batch_first=False, need_weights=False),
        "causal attention": attending(need_weights=False, attn_mask=LATER, is_causal=True),
        "padded causal attention": attending(
            need_weights=False, attn_mask=LATER, key_padding_mask=is_padding
        ),
        "further keys": attending(need_weights=False, add_bias_kv=True, add_zero_attn=True),
        "no biases": attending(need_weights=False, bias=False),
        "cross attention": attending(
            need_weights=False, kdim=3, vdim=2, key=lambda x: x[..., :3], value=lambda x: x[..., 2:]
        ),
        "encoder layer": layer(),
        "norms first": layer(norm_first=True, activation="gelu"),
        "padded encoder": Called(stack, src_key_padding_mask=is_padding),
        "causal encoder": Called(stack, mask=LATER, is_causal=True),
        "decoder": Called(decoder, memory=lambda x: x[:, :3].flip(-1)),
        "transformer": Called(
            nn.Transformer(4, 2, 1, 1, 8, **QUIET), tgt=lambda x: x[:, :3].flip(-1)
        ),
    }


NETWORKS = networks()


@pytest.mark.parametrize("is_training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("name", NETWORKS)
def test_whole_layers_are_vectorised_exactly(name, is_training):
    network, xs = NETWORKS[name].train(is_training), XS[:, :, 0]
    names = [n for n, _ in network.named_parameters()]

    def called(w, x):
        return functional_call(network, dict(zip(names, w, strict=True)), (x,))

    theta = [p.detach() for p in network.parameters()]
    with composed():
        network.train()  # in eval() torch's fused ways have no derivative; nothing is dropped
        expected = task_by_task(called, theta, xs)
        product = hessian_product_reverse(called, theta, xs[0])
        network.train(is_training)
    assert difference(vectorised(called, ROWS, theta, xs), expected) < EXACT
    assert difference(hessian_product_forward(called, ROWS, theta, xs[0]), product) < EXACT


@pytest.mark.parametrize("name", NETWORKS)
def test_fused_and_nested_ways_are_never_taken(name):
    network = NETWORKS[name].eval()
    with torch.no_grad(), Substituting(ROWS) as mode:
        found = network(XS[0, :, 0])
    met = {getattr(func, "__name__", "") for func in mode.met}
    fused = {"_native_multi_head_attention", "_transformer_encoder_layer_fwd"}
    assert not met & {*fused, "_nested_tensor_from_mask"}
    with composed():
        expected = NETWORKS[name].train()(XS[0, :, 0])
    torch.testing.assert_close(found, expected)


def test_weights_of_every_head_are_given_where_they_are_asked_for():
    module, x = nn.MultiheadAttention(4, 2, **QUIET), XS[0, :, 0]
    expected = module(x, x, x, average_attn_weights=False)
    with Substituting(ROWS):
        found = module(x, x, x, average_attn_weights=False)
    torch.testing.assert_close(found, expected)


def test_dropout_of_attention_differs_from_task_to_task():
    module = nn.MultiheadAttention(4, 2, dropout=0.5, batch_first=True, dtype=torch.float64)
    same = XS[0, :, 0].expand(3, 2, TOKENS, WIDTH)

    def called(x):
        with Substituting(ROWS):
            return module(x, x, x, need_weights=False)[0]

    one, other, _ = torch.func.vmap(called, randomness="different")(same)
    assert not torch.allclose(one, other)
