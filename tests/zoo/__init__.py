"""Small networks and losses as users bring them, and how each is expected to run."""

from tests.zoo import blocks, habits, layers, operations, sequences
from tests.zoo.losses import LOSSES

TABLES = [
    ("vector", layers.VECTOR),
    ("signal", layers.SIGNAL),
    ("image", layers.IMAGE),
    ("volume", layers.VOLUME),
    ("sequence", sequences.SEQUENCE),
    ("tokens", sequences.TOKENS),
    ("vector", operations.VECTOR),
    ("image", operations.IMAGE),
    ("vector", habits.VECTOR),
    ("image", blocks.IMAGE),
]
NETWORKS = {name: (kind, make) for kind, table in TABLES for name, make in table.items()}

IN_EVAL = "draws random numbers in eval() too"
# What no vmap takes: exact, task by task, and the words of the reason.
ONE_BY_ONE = {
    "FractionalMaxPool2d": IN_EVAL,
    "LSTM, packed": "Python branch on a tensor's value",
    "GRU, packed": "Python branch on a tensor's value",
    "noise": IN_EVAL,
    "Gumbel softmax": IN_EVAL,
    "Gumbel softmax, hard": IN_EVAL,
    "variational encoder": IN_EVAL,
    "channels last": "memory_format",
    "custom function without a rule": "does not have vmap support",
    "custom function in the old style": "an old-style autograd.Function",
    "branch by value": "Python branch on a tensor's value",
    "rows by a mask": "selecting rows by a mask",
    "autograd.grad inside": "torch.autograd.grad inside a forward pass",
    "backward hook": "full backward hook",
    "scripted layer norm": "is off by .* (RecursiveScriptModule)",
}
# What has no exact meta-gradient in torch either, or a wrong one, and the words of the refusal.
REFUSED = {
    "CrossMapLRN2d": "out=.* do ?n.t support automatic differentiation",
    "Embedding, renormalised": "max_norm",
    "Embedding, scaled by frequency": "scale_grad_by_freq",
    "EmbeddingBag by offsets": "offsets",
    "custom function, once differentiable": "second derivative .* is off",
    "state in an attribute": "attribute body.average changes",
    "checkpoint": "torch.utils.checkpoint",
    "checkpoint, reentrant": "torch.utils.checkpoint",
    "spectral norm": "changes body.parametrizations.weight.0._u",
    "lazy": "is lazy",
    "SyncBatchNorm": "SyncBatchNorm",
}
# Refused where each step is computed again, by forward mode; randomness is asked for by itself.
UNROLLED_ALONE = {
    "LSTM, packed",
    "GRU, packed",
    "custom function in the old style",
    "gradient reversal",
    "no_grad",
    "backward hook",
}
# What plain autograd has no second derivative of, or a wrong one: compared with differences.
NO_REFERENCE = {
    "Hardsigmoid",
    "Hardsigmoid in place",
    "EmbeddingBag",
    "EmbeddingBag, sum",
    "EmbeddingBag, max",
    "EmbeddingBag, weighted",
    "radial kernel",
    "weight norm",
    "weight norm by hook",
    "weight norm of a convolution",
}
# torch's norm in a script is wrong under vmap of reverse mode, not under that of forward mode.
VECTORISED_RECOMPUTED = {"scripted layer norm"}


def way_listed(name: str, adjoint: str, *, draws: bool) -> str:
    """Say how a network runs: vectorised, task by task, or refused; `draws` random numbers or not.

    With adjoint=recomputed what draws is refused, since each step is evaluated again.
    """
    is_recomputed = adjoint == "recomputed"
    if name in REFUSED or (is_recomputed and (draws or name in UNROLLED_ALONE)):
        return "refused"
    if name in ONE_BY_ONE and not (is_recomputed and name in VECTORISED_RECOMPUTED):
        return "task by task"
    return "vectorised"


__all__ = ["LOSSES", "NETWORKS", "NO_REFERENCE", "ONE_BY_ONE", "REFUSED", "TABLES", "way_listed"]
