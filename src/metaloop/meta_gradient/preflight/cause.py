"""Which piece an error comes from, and what would mend it."""

import cProfile
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from metaloop.algorithms.algorithm import Algorithm
from metaloop.errors import UserError

# functions that change what a derivative is, by the file and name of their code
WITNESSED = {
    ("torch/utils/checkpoint.py", "checkpoint"): "torch.utils.checkpoint",
    ("torch/autograd/grad_mode.py", "__enter__"): "torch.no_grad",
    ("torch/autograd/__init__.py", "grad"): "torch.autograd.grad",
}
SUSPECTS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.LayerNorm,
    nn.RMSNorm,
    nn.RNNBase,
    nn.MultiheadAttention,
    nn.TransformerEncoderLayer,
)


def first_line(error: BaseException) -> str:
    """What an error says, for a message."""
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(".") if lines else ""
    if isinstance(error, RuntimeError) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def some(names: list[str]) -> str:
    """The first of the names, for a message."""
    return ", ".join(names[:8]) + (" .." if len(names) > 8 else "")


def in_words(error: BaseException) -> str:
    """What an error says, or means where torch.func speaks of itself."""
    said = str(error)
    if "setup_context" in said:
        return (
            "torch.func takes no autograd.Function in the old style, forward(ctx, ..), and no full "
            "backward hook"
        )
    if "requires_grad_()" in said and "functorch" in said:
        return "torch.func takes no torch.autograd.grad inside a forward pass"
    if "data-dependent control flow" in said or ".item() on a Tensor" in said:
        return "vmap takes no Python branch on a value"
    if "dynamic shape" in said or "nonzero" in said:
        return "vmap takes no selection of rows by a mask"
    return first_line(error)


def layer_of(error: BaseException, model: nn.Module) -> str:
    """The innermost of the model's layers that an error came through; empty if through none."""
    names = {id(m): f"{n or 'itself'} ({type(m).__name__})" for n, m in model.named_modules()}
    found = ""
    for frame in _frames(error.__traceback__):
        found = names.get(id(frame.f_locals.get("self")), found)
    return found


def suspects(model: nn.Module) -> str:
    """Layers to look at first: known for trouble, or else all that have no children."""
    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    named = [(n, m) for n, m in model.named_modules() if n and isinstance(m, SUSPECTS)] or leaves
    return some([f"{n} ({type(m).__name__})" for n, m in named]) or type(model).__name__


def no_gradient(algorithm: Algorithm, error: Exception) -> UserError:
    """Explain why plain autograd gives no meta-gradient, by what it says."""
    model = algorithm.objective.model
    name, said = type(model).__name__, in_words(error)
    place = layer_of(error, model) or suspects(model)
    adjoint = algorithm.describe().get("adjoint", type(algorithm).__name__)
    if "torch.func" in said or "functorch" in said or "vmap" in said:
        return UserError(
            f"adjoint={adjoint} differentiates {name} by torch.func, and {said}. "
            f"Look at {place}, or set algorithm.adjoint=unrolled, which needs plain autograd alone."
        )
    if "forward AD" in said or "forward-mode" in said or "jvp" in said:
        return UserError(
            f"adjoint={adjoint} differentiates forward too, which {name} does not allow: {said}. "
            f"Look at {place}, or set algorithm.adjoint=unrolled."
        )
    if "inplace" in said or "in-place" in said:
        return UserError(
            f"{name} changes a tensor in place that its gradient still needs: {said}. Look at "
            f"{place}, and write y = y + x for y += x (inplace=False for layers that have it)."
        )
    if "not implemented" in said or "once_differentiable" in said:
        return UserError(
            f"{name} cannot be differentiated twice: {said}. Look at {place}; write it from plain "
            "tensor operations, or set algorithm.adjoint=first_order."
        )
    return UserError(f"No meta-gradient goes through {name}: {said}. Look at {place}.")


@contextmanager
def witness() -> Iterator[set[str]]:
    """Collect which of WITNESSED Python calls inside."""
    seen: set[str] = set()
    names = {name for _, name in WITNESSED}

    def look(frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG001
        code = frame.f_code
        if event == "call" and code.co_name in names:
            for (file, name), called in WITNESSED.items():
                if code.co_name == name and code.co_filename.endswith(file):
                    seen.add(_which(called, frame))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        with _ReadsData(seen):
            yield seen
    finally:
        if isinstance(before, cProfile.Profile):  # which is what it left, and no function
            before.enable()
        else:
            sys.setprofile(before)


class _ReadsData(TorchFunctionMode):
    """Notes that x.data is read, which no Python function is called for."""

    def __init__(self, seen: set[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever torch's function returns
        if func == torch.Tensor.data.__get__:  # type: ignore[attr-defined]
            self.seen.add("Tensor.data")
        return func(*args, **(kwargs or {}))


def _which(called: str, frame: FrameType) -> str:
    if called == "torch.no_grad":  # enable_grad, set_grad_enabled .. enter by the same name
        return f"torch.{type(frame.f_locals.get('self')).__name__}"
    return called


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next
