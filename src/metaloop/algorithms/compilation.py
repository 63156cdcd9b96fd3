"""The chunk's gradient as one compiled graph, used only where it equals the eager one."""

import warnings
from collections.abc import Callable

import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from metaloop.algorithms.algorithm import Algorithm
from metaloop.algorithms.meta_gradient import Gradient, chunk_gradient
from metaloop.episode import Episode
from metaloop.inner_loop import Parameters, Report

# of a gradient tensor's norm: the compiled graph sums in another order
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9, torch.bfloat16: 5e-2}
Compiled = Callable[[Parameters, Episode], tuple[Gradient, Report]]


class CompiledChunkGradient:
    """A stand-in for `chunk_gradient`, compiled once for each shape and algorithm it meets.

    make_fx unrolls torch.func's transforms into plain operations, which the compiler takes;
    it refuses the transforms themselves. The first result of every graph is compared with the
    eager one: where they differ, or nothing can be compiled, eager it stays, with a warning.
    """

    def __init__(self) -> None:
        self._graphs: list[tuple[object, Algorithm, Compiled]] = []

    def __call__(
        self, algorithm: Algorithm, meta: Parameters, chunk: Episode, tasks: int
    ) -> tuple[Gradient, Report]:
        leaves = pytree.tree_leaves((dict(meta), chunk))
        shapes = (tasks, tuple((t.shape, t.dtype, t.device) for t in leaves))
        for known, owner, graph in self._graphs:
            if known == shapes and owner == algorithm:
                return graph(meta, chunk)
        graph = _compile(algorithm, meta, chunk, tasks)
        self._graphs.append((shapes, algorithm, graph))
        return graph(meta, chunk)


def _compile(algorithm: Algorithm, meta: Parameters, chunk: Episode, tasks: int) -> Compiled:
    def eager(meta: Parameters, chunk: Episode) -> tuple[Gradient, Report]:
        return chunk_gradient(algorithm, meta, chunk, tasks)

    try:
        traced = make_fx(eager)(dict(meta), chunk)
        compiled = torch.compile(traced, fullgraph=True, dynamic=False)
        with torch.no_grad():
            found = compiled(dict(meta), chunk)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        warnings.warn(f"Not compiled, running eagerly: {reason}", stacklevel=3)
        return eager
    if not _is_same(found[0], eager(meta, chunk)[0]):
        warnings.warn(
            "The compiled meta-gradient differs from the eager one; running eagerly.", stacklevel=3
        )
        return eager

    def run(meta: Parameters, chunk: Episode) -> tuple[Gradient, Report]:
        with torch.no_grad():
            result: tuple[Gradient, Report] = compiled(dict(meta), chunk)
            return result

    return run


def _is_same(one: Gradient, other: Gradient) -> bool:
    """Compare tensor by tensor; one that is tiny beside the whole gradient may be noise."""
    norm = torch.stack([g.norm() for g in other.values()]).norm()
    return all(
        bool((one[n] - g).norm() <= TOLERANCE[g.dtype] * (g.norm() + 1e-3 * norm))
        for n, g in other.items()
    )
