"""Refuse a loss or metric that broadcasts predictions against targets by accident."""

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

from metaloop.errors import UserError
from metaloop.meta_gradient.preflight.cause import describe

SIZES = "Using a target size"  # start of torch's warning about a loss that broadcasts


def call_without_broadcasting(
    function: Callable[[Tensor, Tensor], Tensor], predictions: Tensor, targets: Tensor, what: str
) -> Tensor:
    """Call a function of predictions and targets; refuse one that broadcasts them by accident."""
    with warnings.catch_warnings(record=True) as caught, _BroadcastWatch() as watch:
        warnings.simplefilter("always")
        value = function(predictions, targets)
    sizes = [str(w.message) for w in caught if str(w.message).startswith(SIZES)]
    if sizes or watch.found:
        raise UserError(
            f"{what} compares predictions {describe(predictions)} with targets "
            f"{describe(targets)}, which broadcast. Give both the same shape: targets [S, 1] if "
            "the model has one output, or as many outputs as the targets have."
        )
    for warning in caught:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return value


class _BroadcastWatch(TorchFunctionMode):
    """Detect an operation that broadcasts two tensors with different numbers of dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever torch's function returns
        result = func(*args, **(kwargs or {}))
        operands = [a for a in args[:2] if isinstance(a, Tensor) and a.ndim]
        if len(operands) == 2 and isinstance(result, Tensor):
            one, other = operands
            is_more = result.shape not in (one.shape, other.shape)
            if is_more and one.ndim != other.ndim and _broadcast(one, other, result):
                self.found = True
        return result


def _broadcast(one: Tensor, other: Tensor, result: Tensor) -> bool:
    """Check whether the result has the shape to which the two tensors broadcast."""
    sizes = [*zip(reversed(one.shape), reversed(other.shape), strict=False)]
    fits = all(a == b or 1 in (a, b) for a, b in sizes)
    longer = max(one.shape, other.shape, key=len)
    shape = [*longer[: len(longer) - len(sizes)], *(max(s) for s in reversed(sizes))]
    return fits and list(result.shape) == shape
