"""Find the piece that an error comes from, and a remedy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metaloop.algorithms.algorithm import Algorithm
from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.python_calls import watch_calls

# functions that change a derivative, by file and name of their code
WITNESSED = {
    ("torch/utils/checkpoint.py", "checkpoint"): "torch.utils.checkpoint",
    ("torch/autograd/grad_mode.py", "__enter__"): "torch.no_grad",
    ("torch/autograd/grad_mode.py", "__init__"): "torch.set_grad_enabled",  # acts when it is made
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
    """Return an error's first line, for a message."""
    lines = str(error).strip().splitlines()
    said = lines[0].rstrip(".") if lines else ""
    if isinstance(error, RuntimeError) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def some(names: list[str]) -> str:
    """List the first of the names, for a message."""
    return ", ".join(names[:8]) + (" .." if len(names) > 8 else "")


def names_of(types: set[torch.dtype]) -> str:
    """List dtypes for a message."""
    return ", ".join(sorted(str(t).removeprefix("torch.") for t in types))


def describe(value: object) -> str:
    """Describe a value for a message: a tensor's shape and dtype, or a type."""
    if isinstance(value, Tensor):
        return f"{list(value.shape)} {names_of({value.dtype})}"
    return f"a {type(value).__name__}"


def in_words(error: BaseException) -> str:
    """Describe an error, translating torch.func's internal messages."""
    said = str(error)
    if "setup_context" in said:
        return (
            "torch.func does not support an old-style autograd.Function, forward(ctx, ..), or a "
            "full backward hook"
        )
    if "requires_grad_()" in said and "functorch" in said:
        return "torch.func does not support torch.autograd.grad inside a forward pass"
    if "data-dependent control flow" in said or ".item() on a Tensor" in said:
        return "vmap does not support a Python branch on a tensor's value"
    if "dynamic shape" in said or "nonzero" in said:
        return "vmap does not support selecting rows by a mask"
    return first_line(error)


def layer_of(error: BaseException, model: nn.Module) -> str:
    """Find the innermost layer of the model that an error passed through; empty if none."""
    names = {id(m): f"{n or 'itself'} ({type(m).__name__})" for n, m in model.named_modules()}
    found = ""
    for frame in _frames(error.__traceback__):
        found = names.get(id(frame.f_locals.get("self")), found)
    return found


def suspects(model: nn.Module) -> str:
    """List the layers to look at first: known causes of trouble, else all without children."""
    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    named = [(n, m) for n, m in model.named_modules() if n and isinstance(m, SUSPECTS)] or leaves
    return some([f"{n} ({type(m).__name__})" for n, m in named]) or type(model).__name__


def no_gradient(algorithm: Algorithm, error: Exception) -> UserError:
    """Explain from an error why plain autograd gives no meta-gradient."""
    model = algorithm.objective.model
    name, said = type(model).__name__, in_words(error)
    place = layer_of(error, model) or suspects(model)
    adjoint = algorithm.describe().get("adjoint", type(algorithm).__name__)
    if "torch.func" in said or "functorch" in said or "vmap" in said:
        return UserError(
            f"adjoint={adjoint} differentiates {name} with torch.func, but {said}. "
            f"Look at {place}, or set algorithm.adjoint=unrolled, which only needs plain autograd."
        )
    if "forward AD" in said or "forward-mode" in said or "jvp" in said:
        return UserError(
            f"adjoint={adjoint} also needs forward mode, which {name} does not support: {said}. "
            f"Look at {place}, or set algorithm.adjoint=unrolled."
        )
    if "inplace" in said or "in-place" in said:
        return UserError(
            f"{name} changes a tensor in place that its gradient still needs: {said}. Look at "
            f"{place}, and write y = y + x instead of y += x (inplace=False for layers with it)."
        )
    if "not implemented" in said or "once_differentiable" in said:
        return UserError(
            f"{name} cannot be differentiated twice: {said}. Look at {place}; write it in plain "
            "tensor operations, or set algorithm.adjoint=first_order."
        )
    return UserError(f"{name} has no meta-gradient: {said}. Look at {place}.")


@contextmanager
def witness() -> Iterator[set[str]]:
    """Collect the names of the WITNESSED functions that are called inside."""
    seen: set[str] = set()
    names = {name for _, name in WITNESSED}

    def look(frame: FrameType) -> None:
        code = frame.f_code
        if code.co_name in names:
            for (file, name), called in WITNESSED.items():
                if code.co_name == name and code.co_filename.endswith(file):
                    seen.update(filter(None, [_which(called, frame)]))

    with watch_calls(look), _Detaches(seen):
        yield seen


class _Detaches(TorchFunctionMode):
    """Record x.data and x.detach_(), which call no Python function."""

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
        elif func in (torch.Tensor.detach_, torch.detach_):
            self.seen.add("Tensor.detach_")
        return func(*args, **(kwargs or {}))


def _which(called: str, frame: FrameType) -> str:
    if called not in ("torch.no_grad", "torch.set_grad_enabled"):
        return called
    # the classes of their file share these methods, and no_grad itself makes a set_grad_enabled
    caller = "" if frame.f_back is None else frame.f_back.f_code.co_filename
    is_inside = caller == frame.f_code.co_filename
    return "" if is_inside else f"torch.{type(frame.f_locals.get('self')).__name__}"


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next
