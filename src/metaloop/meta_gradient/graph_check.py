"""Compare a compiled graph with the eager gradient, to what rounding explains."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from metaloop.episode import Episode
from metaloop.inner_loop import Parameters, Report
from metaloop.meta_gradient.meta_gradient import Gradient
from metaloop.meta_gradient.random_state import keep_random_state
from metaloop.process.products import keep_rounding, round_products

Result = tuple[Gradient, Report]
Scheduled = tuple[Tensor, ...]  # Algorithm.scheduled
Compiled = Callable[[Parameters, Episode, Scheduled], Result]

# relative to the norm of a gradient tensor: the compiled graph sums in another order
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9, torch.bfloat16: 5e-2}
KINK = 100.0  # times the tolerance: possible effect of an element on the other side of a kink
REDUCED = 3.0  # in half precision or TF32: times the eager gradient's distance from float32's


def agree(
    graph: Compiled, eager: Compiled, meta: Parameters, chunk: Episode, scheduled: Scheduled
) -> bool:
    """Check that both give the same from the same random state, which is restored.

    Rounding can move an element across a kink (of a ReLU or max-pooling), where the slope differs.
    So if the results are close but not equal, they are compared again at points near `meta`. A
    wrong graph equals eager at none of them.

    In half precision or TF32 both round, at other places: the graph may be about as far from the
    eager gradient as that is from float32's.
    """
    device = chunk.classes.device

    def gradient(function: Compiled, point: Parameters) -> Gradient:
        with keep_random_state(device):
            return function(point, chunk, scheduled)[0]

    for point in _points(meta):
        found, expected = gradient(graph, point), gradient(eager, point)
        rounding = torch.zeros((), device=device)
        if _rounds_more(device.type):
            with keep_rounding(), torch.autocast(device.type, enabled=False):
                round_products("highest")
                exact = gradient(eager, point)
            rounding = REDUCED * _norm({n: g - exact[n] for n, g in expected.items()})
        if _is_within(1.0, found, expected, rounding):
            return True
        if not _is_within(KINK, found, expected, rounding):
            return False
    return False


def _rounds_more(device: str) -> bool:
    """Tell whether products are computed in less than the precision of their tensors."""
    is_tf32 = device == "cuda" and torch.backends.cudnn.allow_tf32
    is_reduced = torch.get_float32_matmul_precision() != "highest"
    return is_tf32 or is_reduced or torch.is_autocast_enabled(device)


def _points(meta: Parameters) -> Iterator[Parameters]:
    """Yield the meta-parameters, then a few points near them."""
    yield meta
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        draws = {n: torch.randn(p.shape, generator=generator).to(p) for n, p in meta.items()}
        yield {
            n: p + 1e-2 * p.norm() / max(1, p.numel()) ** 0.5 * draws[n] for n, p in meta.items()
        }


def _is_within(tolerances: float, one: Gradient, other: Gradient, rounding: Tensor) -> bool:
    """Compare tensor by tensor; a tensor that is tiny relative to the gradient may be noise."""
    norm = _norm(other)
    return all(
        bool(
            (one[n] - g).norm()
            <= tolerances * TOLERANCE[g.dtype] * (g.norm() + 1e-3 * norm) + rounding
        )
        for n, g in other.items()
    )


def _norm(gradient: Gradient) -> Tensor:
    norm: Tensor = torch.stack([g.norm() for g in gradient.values()]).norm()
    return norm
