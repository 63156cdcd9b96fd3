"""Attention as two products and a softmax, since torch's fused kernels lack a second derivative.

softmax(Q K^T / sqrt(d) + M) V        (Vaswani et al. 2017, arXiv:1706.03762, eq. 1)
"""

import math
from collections.abc import Callable
from types import FunctionType

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes.precision import HALF, full_precision


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute attention. A query that may attend to no key gets 0, as in torch's kernels.

    Half precision is computed in float32 and rounded once, at the end.

    Shapes:
        query [*any, heads, L, d], key [*any, heads, S, d], value [*any, heads, S, d_value]
        attn_mask: broadcasts to [*any, heads, L, S]; True may be attended to, floats are added
        enable_gqa: key and value may have fewer heads; each serves a group of adjacent query heads
    """
    if is_causal and attn_mask is not None:
        raise UserError(
            "scaled_dot_product_attention got attn_mask together with is_causal=True. Pass only "
            "one of them: a mask that is itself causal, or is_causal=True."
        )
    q, k, v = full_precision(query), full_precision(key), full_precision(value)
    if enable_gqa:
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], dim=-3) for t in (k, v))
    # scale both sides by the root, as torch does, to get the same bits
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    root = math.sqrt(abs(scale))
    scores = full_precision((q * math.copysign(root, scale)) @ (k * root).mT)
    if is_causal:
        shape = scores.shape[-2:]
        attn_mask = torch.ones(shape, dtype=torch.bool, device=scores.device).tril()
    lowest = torch.finfo(scores.dtype).min
    if attn_mask is not None:
        scores = scores + _additive_mask(attn_mask, lowest, scores.dtype)
    weights = torch.softmax(scores, dim=-1)
    if dropout_p > 0:
        weights = F.dropout(weights, dropout_p)
    output = weights @ v
    if attn_mask is not None and not is_causal:
        output = torch.where(_has_visible_key(attn_mask), output, 0.0)
    return output.to(query.dtype) if query.dtype in HALF else output


def _additive_mask(mask: Tensor, lowest: float, dtype: torch.dtype) -> Tensor:
    """Turn a mask into finite values to add to the scores: infinities would give NaN gradients."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, lowest)
    return full_precision(mask).clamp(min=lowest)


def _has_visible_key(mask: Tensor) -> Tensor:
    """Mark the queries that may attend to at least one key: [.., L, 1]."""
    shown = mask if mask.dtype == torch.bool else mask > -math.inf
    return shown.any(-1, keepdim=True)


def never_left_aligned(input: Tensor, mask: Tensor) -> bool:
    """Report every padding mask as not left-aligned.

    nn.TransformerEncoder asks this before it makes a nested tensor, which it never does under a
    mode. Torch's answer depends on the values, which vmap refuses.
    """
    return False


def attention_forward(**replaced: Callable[..., object]) -> Callable[..., object]:
    """Make torch's function of multi-head attention with other functions inside.

    A mode does not see the calls that it makes, so its globals are replaced: always the attention,
    by the one above, and what `replaced` names.
    """
    torchs = F.multi_head_attention_forward
    exact = {"scaled_dot_product_attention": scaled_dot_product_attention}
    return FunctionType(
        torchs.__code__,
        {**torchs.__globals__, **exact, **replaced},
        "multi_head_attention_forward",
        torchs.__defaults__,
    )


multi_head_attention_forward = attention_forward()

aten = torch.ops.aten
# nn.MultiheadAttention, nn.TransformerEncoderLayer and nn.TransformerEncoder avoid their fused and
# nested paths, which have no gradient, by themselves: has_torch_function is true under a mode.
ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    aten.scaled_dot_product_attention: scaled_dot_product_attention,
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    F.multi_head_attention_forward: multi_head_attention_forward,
    torch._nested_tensor_from_mask_left_aligned: never_left_aligned,
}
