"""Embeddings, bags and one-hot vectors with exact padding; options that rescale are refused."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from metaloop.errors import UserError
from metaloop.substitutes.precision import full_precision


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Look up rows; the padding row gets no gradient of any order.

    Torch loses padding_idx in the second derivative where tasks are vectorised. Gradients are
    always dense here: sparse ones cannot be differentiated.
    """
    _refuse_rescaling("Embedding", max_norm, scale_grad_by_freq)
    rows = F.embedding(input, weight)
    if padding_idx is None:
        return rows
    if not -len(weight) <= padding_idx < len(weight):
        raise UserError(
            f"padding_idx={padding_idx} is out of range for a table of {len(weight)} rows."
        )
    is_padding = (input == padding_idx % len(weight)).unsqueeze(-1)
    return torch.where(is_padding, rows.detach(), rows)


def _embedding_of_weight(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Replace torch.embedding, which takes the table first and where -1 means no padding."""
    padding = None if padding_idx == -1 else padding_idx
    return embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Reduce the rows of each bag of input [bags, size]; rows of padding_idx are ignored.

    Torch's version has no second derivative and no forward mode. Bags of different sizes, given by
    offsets, are refused: their number of rows depends on the data.
    """
    _refuse_rescaling("EmbeddingBag", max_norm, scale_grad_by_freq)
    if input.dim() != 2 or offsets is not None:
        raise UserError(
            "EmbeddingBag with offsets cannot be differentiated twice. Pass bags of equal size, "
            "[bags, size], padded with padding_idx."
        )
    if per_sample_weights is not None and mode != "sum":
        raise UserError(f"per_sample_weights require mode='sum', but mode is '{mode}'.")
    rows = full_precision(F.embedding(input, weight))
    counts = torch.ones_like(input, dtype=torch.bool)
    if padding_idx is not None:
        counts = input != padding_idx % len(weight)
    counts = counts.unsqueeze(-1)
    if per_sample_weights is not None:
        rows = rows * full_precision(per_sample_weights).unsqueeze(-1)
    if mode == "max":
        lowest = torch.where(counts, rows, torch.full_like(rows, -torch.inf))
        # a single row wins, as in torch; an empty bag is zero
        best = rows.gather(-2, lowest.argmax(-2, keepdim=True)).squeeze(-2)
        reduced = torch.where(counts.any(-2), best, torch.zeros_like(best))
    elif mode in ("sum", "mean"):
        reduced = torch.where(counts, rows, torch.zeros_like(rows)).sum(-2)
        reduced = reduced / counts.sum(-2).clamp(min=1) if mode == "mean" else reduced
    else:
        raise UserError(f"mode must be sum, mean or max, not '{mode}'.")
    return reduced.to(weight.dtype)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Encode classes as unit vectors. Torch's reads the values, which vmap refuses."""
    if num_classes < 0:
        raise UserError(
            "one_hot without num_classes looks for the largest class, which differs between "
            "vectorised tasks. Pass num_classes."
        )
    # a look-up rather than a comparison, so that a class out of range is an error
    return F.embedding(input, torch.eye(num_classes, dtype=torch.long, device=input.device))


def _refuse_rescaling(name: str, max_norm: float | None, scale_grad_by_freq: bool) -> None:
    if max_norm is not None:
        raise UserError(
            f"{name}(max_norm={max_norm}) changes its weights in place, so its derivatives are "
            "wrong. Leave out max_norm, or normalise the rows that it returns."
        )
    if scale_grad_by_freq:
        raise UserError(
            f"{name}(scale_grad_by_freq=True) returns a gradient that is not the loss's. "
            "Leave out scale_grad_by_freq."
        )


ALWAYS: dict[Callable[..., object], Callable[..., object]] = {
    F.embedding: embedding,
    torch.embedding: _embedding_of_weight,
    F.embedding_bag: embedding_bag,
}
# under any vmap, recorded or not
VMAPPED: dict[Callable[..., object], Callable[..., object]] = {F.one_hot: one_hot}
