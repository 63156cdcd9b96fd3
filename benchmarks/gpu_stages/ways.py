"""The same meta-gradient in three ways: eager, compiled, recorded as a CUDA graph."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from speed.work import META_LR, Step

from gpu_stages.record import Setting
from metaloop.algorithms import GradientBased
from metaloop.episode import Episode
from metaloop.meta_gradient import AtOnce, CompiledChunkGradient, cuda_graph, meta_gradient

ALL_AT_ONCE = AtOnce(tasks_at_once="all", chunks_at_once=1)
NOT_AS_ASKED = "Not compiled|The compiled meta-gradient differs|Compiled, but not recorded"
EAGER, COMPILED, RECORDED = "eager", "compiled", "CUDA graph"
WAYS = (EAGER, COMPILED, RECORDED)


def why_not(way: str, setting: Setting) -> str | None:
    """Say why a way does not exist here."""
    if way == RECORDED and setting.device != "cuda":
        return "only a CUDA device records graphs"
    return None


@contextmanager
def first_call(way: str) -> Iterator[None]:
    """Around the call that compiles: record the graph or not, whatever it is bound by.

    What would quietly be computed in another way raises an error.
    """
    before = cuda_graph.LAUNCH_BOUND
    cuda_graph.LAUNCH_BOUND = 0.0 if way == RECORDED else float("inf")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=NOT_AS_ASKED)
            yield
    finally:
        cuda_graph.LAUNCH_BOUND = before


def meta_step(algorithm: GradientBased, episodes: Episode, way: str) -> Step:
    """One meta-step of metaloop's in one of the ways: meta-gradient and Adam."""
    of_chunk = None if way == EAGER else CompiledChunkGradient()
    meta = dict(algorithm.objective.model.named_parameters())
    optimizer = torch.optim.Adam(meta.values(), lr=META_LR, fused=True)

    def step() -> list[torch.Tensor]:
        gradient, _ = meta_gradient(algorithm, meta, episodes, **ALL_AT_ONCE, of_chunk=of_chunk)
        for name, p in meta.items():
            p.grad = gradient[name]
        optimizer.step()
        return list(gradient.values())

    return step
