"""Low-rank adaptation: small additions to a frozen network."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn

from metaloop.adapters.attention import Attention
from metaloop.adapters.base import leave_base_out, whole_state
from metaloop.adapters.kinds import (
    SCALE,
    A,
    B,
    Convolution,
    Kind,
    Linear,
    TransposedLinear,
    names_of,
)
from metaloop.arguments import Count, Positive
from metaloop.errors import UserError

KINDS: tuple[Kind, ...] = (Attention(), Linear(), TransposedLinear(), Convolution())
DESCRIPTION = "lora_description"
ALSO = r"^head\.|(^|\.)context$"  # a network's head, and CAVIA's context


class Matrix(NamedTuple):
    """A matrix of a network that can take an adapter; `name` is its name in the whole network."""

    name: str
    layer: nn.Module
    kind: Kind
    within: str  # its name in the layer
    outputs: int
    inputs: int


def lora(
    network: nn.Module,
    *,
    rank: Count,
    alpha: Positive,
    targets: str = ".*",
    also: str | None = ALSO,
    source: str | None = None,
) -> nn.Module:
    """Freeze a network and add adapters, in place: W becomes W + alpha / rank * B A.

    Hu et al. 2021 (arXiv:2106.09685), eq. 3.

    A is initialised by Kaiming's rule and B with zero, so that the network's outputs stay the same.
    The adapters and the parameters that `also` names are learned, and adapt under
    `part=everything`. All tasks share the frozen base: a task's state is as large as its adapters.

    Deviations: the paper draws A from a normal distribution; the authors' code draws it as here.
    The paper adapts two matrices of each attention layer; here `targets` chooses, by default all.

    Args:
        network: a network with torch's linear layers, attention or convolutions, or GPT-2's layers.
        rank: r, capped at the number of a matrix's rows and columns.
        alpha: B A is scaled by alpha / rank.
        targets: regular expression for the names of the matrices that get adapters; those of
            torch.nn.MultiheadAttention are called q_proj, k_proj, v_proj and out_proj. A weight
            that several modules share gets none.
        also: regular expression for the names of parameters that are not frozen; None freezes all.
        source: where the base can be loaded from again, in words: its weights are then left out of
            the network's state dict. None keeps them in it.

    Raises:
        UserError: if no matrix is a target, or the network has adapters already.

    Examples:
        >>> import torch
        >>> from metaloop import lora
        >>> network = lora(torch.nn.Sequential(torch.nn.Linear(100, 100)), rank=2, alpha=4)
        >>> {n: tuple(p.shape) for n, p in network.named_parameters() if p.requires_grad}
        {'0.lora_A': (2, 100), '0.lora_B': (100, 2)}

    """
    targets_, also_ = _pattern("targets", targets), _pattern("also", also)
    if any(is_adapter(name) for name, _ in network.named_parameters()):
        raise UserError("The network has adapters already. Add them all at once: part.targets.")
    learned = {
        name: p
        for name, p in network.named_parameters(remove_duplicate=False)
        if also_ is not None and also_.search(name) and p.requires_grad
    }
    whole = {id(p) for p in learned.values()}
    matrices = find_matrices(network)
    found = [m for m in matrices if not any(id(p) in whole for p in m.layer.parameters())]
    chosen = [m for m in found if targets_ is not None and targets_.search(m.name)]
    if not chosen:
        names = ", ".join(m.name for m in found[:6]) or "none at all"
        raise UserError(
            f"part.targets={targets} matches no matrix of {type(network).__name__} that can take "
            f"an adapter. It has: {names}{' ..' if len(found) > 6 else ''}. Adapters go to torch's "
            "linear layers, attention and convolutions without groups that are not learned "
            f"themselves (part.also={also})."
        )
    base = network.state_dict().keys() - learned.keys()
    for p in network.parameters():
        p.requires_grad_(id(p) in whole)
    for matrix in chosen:
        _add(matrix, rank, alpha)
    setattr(network, DESCRIPTION, {"lora_rank": rank, "lora_alpha": alpha, "lora_targets": targets})
    if source is not None:
        leave_base_out(network, base, source)
    return network


def find_matrices(network: nn.Module) -> Iterator[Matrix]:
    """Find the matrices that can take an adapter, each once."""
    owners = Counter(id(p) for m in network.modules() for p in m._parameters.values())
    inside: set[nn.Module] = set()  # layers whose parent computes with their weights
    for path, layer in network.named_modules():
        for kind in KINDS:
            if layer in inside or not (matrices := kind.matrices(layer)):
                continue
            inside.update(layer.children())
            if any(owners[id(p)] > 1 for p in layer._parameters.values() if p is not None):
                continue
            for within, (outputs, inputs) in matrices.items():
                name = ".".join(filter(None, (path, within)))
                yield Matrix(name, layer, kind, within, outputs, inputs)


def merge(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of the same network without adapters, its weights W + alpha / rank * B A.

    The state of a network that has none is returned as it is.
    """
    weights = whole_state(network)
    merged = dict(weights)
    for path, layer in network.named_modules(remove_duplicate=False):
        if not hasattr(layer, SCALE):
            continue
        prefix = f"{path}." if path else ""
        own = {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}
        kind = next(kind for kind in KINDS if kind.matrices(layer))
        pairs = {matrix: names_of(matrix) for matrix in kind.matrices(layer)}
        changes = {
            matrix: layer.lora_scale * own[b] @ own[a]
            for matrix, (a, b) in pairs.items()
            if a in own
        }
        merged |= {prefix + name: w for name, w in kind.merge(own, changes).items()}
    return {name: w for name, w in merged.items() if not is_adapter(name)}


def describe(network: nn.Module) -> dict[str, float | int | str]:
    """Describe a network's adapters for a result's protocol."""
    described: dict[str, float | int | str] = getattr(network, DESCRIPTION, {})
    return described


def is_adapter(name: str) -> bool:
    """Check whether a parameter of this name is an adapter's A or B."""
    return name.rpartition(".")[2].startswith((A, B))


def _add(matrix: Matrix, rank: int, alpha: float) -> None:
    layer = matrix.layer
    if not hasattr(layer, SCALE):
        setattr(layer, SCALE, alpha / rank)
        matrix.kind.install(layer)
    like = next(layer.parameters())
    rank = min(rank, matrix.outputs, matrix.inputs)
    a, b = names_of(matrix.within)
    drawn = nn.init.kaiming_uniform_(like.new_empty(rank, matrix.inputs), a=math.sqrt(5))
    layer.register_parameter(a, nn.Parameter(drawn))
    layer.register_parameter(b, nn.Parameter(like.new_zeros(matrix.outputs, rank)))


def _pattern(key: str, expression: str | None) -> re.Pattern[str] | None:
    try:
        return None if expression is None else re.compile(expression)
    except re.error as error:
        raise UserError(
            f"part.{key}={expression} is not a regular expression: {error}. Correct it; write a "
            "backslash before a literal dot, star or bracket."
        ) from error
