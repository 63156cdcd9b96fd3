"""Attention, composed of products and a softmax: torch's fused kernels have no second derivative.

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
    """Attend; a query that may look at nothing gets 0, as from torch's kernels.

    Half precision is computed in float32 and rounded once, at the end.

    Shapes:
        query [*any, heads, L, d], key [*any, heads, S, d], value [*any, heads, S, d_value]
        attn_mask: whatever broadcasts to [*any, heads, L, S]; True is looked at, floats are added
        enable_gqa: key and value may have fewer heads, each for a group of neighbouring queries'
    """
    if is_causal and attn_mask is not None:
        raise UserError(
            "scaled_dot_product_attention got attn_mask together with is_causal=True. Hand in one "
            "of them: a mask that is causal too, or is_causal=True alone."
        )
    q, k, v = full_precision(query), full_precision(key), full_precision(value)
    if enable_gqa:
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], dim=-3) for t in (k, v))
    # both sides by the root, as torch's composition has it: the same to the last bits
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    root = math.sqrt(abs(scale))
    scores = full_precision((q * math.copysign(root, scale)) @ (k * root).mT)
    if is_causal:
        shape = scores.shape[-2:]
        attn_mask = torch.ones(shape, dtype=torch.bool, device=scores.device).tril()
    lowest = torch.finfo(scores.dtype).min
    if attn_mask is not None:
        scores = scores + _added(attn_mask, lowest, scores.dtype)
    weights = torch.softmax(scores, dim=-1)
    if dropout_p > 0:
        weights = F.dropout(weights, dropout_p)
    output = weights @ v
    if attn_mask is not None and not is_causal:
        output = torch.where(_looks_at_anything(attn_mask), output, 0.0)
    return output.to(query.dtype) if query.dtype in HALF else output


def _added(mask: Tensor, lowest: float, dtype: torch.dtype) -> Tensor:
    """Find what is added to the scores; finite, so that no derivative is 0 times infinity."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, lowest)
    return full_precision(mask).clamp(min=lowest)


def _looks_at_anything(mask: Tensor) -> Tensor:
    """[.., L, 1]: whether a query may look at any key."""
    shown = mask if mask.dtype == torch.bool else mask > -math.inf
    return shown.any(-1, keepdim=True)


def never_left_aligned(input: Tensor, mask: Tensor) -> bool:
    """Say of no padding mask that it starts at the left.

    nn.TransformerEncoder asks before it makes a nested tensor, which it never does under a mode;
    the answer would be read from the values, which vmap refuses.
    """
    return False


multi_head_attention_forward = FunctionType(
    F.multi_head_attention_forward.__code__,
    {
        **F.multi_head_attention_forward.__globals__,
        "scaled_dot_product_attention": scaled_dot_product_attention,
    },
    "multi_head_attention_forward",
    F.multi_head_attention_forward.__defaults__,
)
"""Torch's own function, whose attention is the one above: no mode sees what it calls inside."""

aten = torch.ops.aten
# nn.MultiheadAttention, nn.TransformerEncoderLayer and nn.TransformerEncoder leave their fused and
# nested ways, which no gradient passes, by themselves: they ask has_torch_function, true in a mode
ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    F.scaled_dot_product_attention: scaled_dot_product_attention,
    aten.scaled_dot_product_attention: scaled_dot_product_attention,
    aten.scaled_dot_product_attention.default: scaled_dot_product_attention,
    F.multi_head_attention_forward: multi_head_attention_forward,
    torch._nested_tensor_from_mask_left_aligned: never_left_aligned,
}
