"""Low-rank additions to torch.nn.MultiheadAttention, which may pack its matrices into one."""

from collections.abc import Callable, Mapping
from types import MethodType
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from metaloop.adapters.kinds import Kind, Matrices, Weights, low_rank, names_of
from metaloop.substitutes.attention import attention_forward

QUERY, KEY, VALUE, OUT = "q_proj", "k_proj", "v_proj", "out_proj"
PACKED, SEPARATE = "in_proj_weight", {n: f"{n}_weight" for n in (QUERY, KEY, VALUE)}


class Attention(Kind):
    """Four matrices, for queries, keys, values and the output, each with its own A and B."""

    def matrices(self, layer: nn.Module) -> Matrices:
        if type(layer).forward is not nn.MultiheadAttention.forward:
            return {}
        assert isinstance(layer, nn.MultiheadAttention)
        size, inputs = layer.embed_dim, (layer.embed_dim, layer.kdim, layer.vdim)
        matrices = {n: (size, width) for n, width in zip(SEPARATE, inputs, strict=True)}
        return {**matrices, OUT: (size, size)}

    def install(self, layer: nn.Module) -> None:
        layer.forward = MethodType(_forward, layer)
        # in eval() without gradients torch's encoder layers skip this forward unless it has a hook
        layer.register_forward_pre_hook(_keep_from_fused_path)

    def merge(self, weights: Weights, changes: Weights) -> dict[str, Tensor]:
        merged = dict(weights)
        if PACKED in merged:
            parts = zip(SEPARATE, merged[PACKED].chunk(3), strict=True)
            merged[PACKED] = torch.cat([part + changes.get(n, 0.0) for n, part in parts])
        keys = {OUT: f"{OUT}.weight", **SEPARATE}
        for name, change in changes.items():
            if (key := keys[name]) in merged:
                merged[key] = merged[key] + change
        return merged


class _WithAdditions(TorchFunctionMode):
    """Computes the attention of one layer with its additions."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.attend = _attention_of(layer)

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        called = self.attend if func is F.multi_head_attention_forward else func
        return called(*args, **(kwargs or {}))


def _forward(self: nn.MultiheadAttention, *args: object, **kwargs: object) -> object:
    forward: Callable[..., object] = type(self).forward
    with _WithAdditions(self):
        return forward(self, *args, **kwargs)


def _attention_of(layer: nn.Module) -> Callable[..., object]:
    """Make F.multi_head_attention_forward with the layer's additions in its projections."""

    def project(x: Tensor, weight: Tensor, bias: Tensor | None, matrix: str) -> Tensor:
        projected = F.linear(x, weight, bias)
        if not hasattr(layer, names_of(matrix)[0]):
            return projected
        return (projected + low_rank(layer, x, matrix)).contiguous()

    def separate(q: Tensor, k: Tensor, v: Tensor, *given: Tensor | None) -> list[Tensor]:
        parts = zip((q, k, v), given[:3], given[3:], SEPARATE, strict=True)
        return [project(x, cast(Tensor, w), b, matrix) for x, w, b, matrix in parts]

    def packed(q: Tensor, k: Tensor, v: Tensor, w: Tensor, b: Tensor | None) -> list[Tensor]:
        return separate(q, k, v, *w.chunk(3), *(b.chunk(3) if b is not None else (None,) * 3))

    def out(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return project(x, weight, bias, OUT)

    return attention_forward(
        linear=out,
        _in_projection=separate,
        _in_projection_packed=packed,
        has_torch_function=lambda _: False,  # else an outer mode would call it a second time
    )


def _keep_from_fused_path(layer: nn.Module, args: tuple[Tensor, ...]) -> None:
    """Do nothing: torch only looks whether the layer has a hook."""
