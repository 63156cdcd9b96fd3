"""Compile a chunk's gradient into one graph, used only where it equals the eager gradient."""

import os
import threading
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._inductor.runtime.cache_dir_utils import default_cache_dir
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils import _pytree as pytree

from metaloop.algorithms.algorithm import Algorithm
from metaloop.episode import Episode
from metaloop.folders.user_path import user_path
from metaloop.inner_loop import Parameters
from metaloop.meta_gradient.cuda_graph import one_launch
from metaloop.meta_gradient.decompositions import DECOMPOSITIONS
from metaloop.meta_gradient.graph_check import Compiled, Result, Scheduled, agree
from metaloop.meta_gradient.meta_gradient import chunk_gradient

MOST_GRAPHS = 16  # each takes up to a minute and GPU memory; further shapes stay eager
CACHE = "TORCHINDUCTOR_CACHE_DIR"


class CompiledChunkGradient:
    """A replacement of `chunk_gradient`, compiled once for each shape and algorithm.

    Values that an algorithm's schedule changes are inputs of its graph.

    The first result of each graph is compared with the eager one. If they differ, or compilation
    fails, the gradient stays eager, with a warning. It also stays eager for new shapes after
    MOST_GRAPHS.

    It may be called from several threads: one compiles while the others wait. Eager calls run one
    at a time, since the model holds the parameters of its current task.

    Args:
        announce: called with messages on what is compiled, and how long it took.

    """

    def __init__(self, announce: Callable[[str], None] = lambda _: None) -> None:
        self.announce = announce
        self.is_used = True  # False once a graph had to stay eager
        self._is_full = False
        self._lock = threading.RLock()
        self._graphs: list[tuple[object, Algorithm, Compiled]] = []
        self._scheduled: tuple[tuple[float, ...], Scheduled] = ((), ())

    def __call__(
        self, algorithm: Algorithm, meta: Parameters, chunk: Episode, tasks: int
    ) -> Result:
        scheduled = self._as_tensors(algorithm.scheduled, next(iter(meta.values())))
        algorithm = algorithm.with_scheduled((0.0,) * len(scheduled))
        inputs = _leaves(meta, chunk, scheduled)
        is_half = torch.is_autocast_enabled(inputs[0].device.type)
        shapes = (tasks, is_half, inputs[0].dtype, inputs[0].device, *[t.shape for t in inputs])
        graph = self._find(shapes, algorithm)
        if graph is None:

            def eager(meta: Parameters, chunk: Episode, scheduled: Scheduled) -> Result:
                with self._lock:
                    return chunk_gradient(algorithm.with_scheduled(scheduled), meta, chunk, tasks)

            with self._lock:
                graph = self._find(shapes, algorithm)  # another thread may have compiled it
                if graph is None and len(self._graphs) >= MOST_GRAPHS:
                    graph = self._stay_eager(eager)
                elif graph is None:
                    graph = self._compile_or_stay_eager(eager, meta, chunk, scheduled)
                    self._graphs.append((shapes, algorithm, graph))
        return graph(meta, chunk, scheduled)

    def _find(self, shapes: object, algorithm: Algorithm) -> Compiled | None:
        for known, owner, graph in self._graphs:
            # usually the same object; comparing two takes longer than a small step's kernels
            if known == shapes and (owner is algorithm or owner == algorithm):
                return graph
        return None

    def _as_tensors(self, values: tuple[float, ...], like: Tensor) -> Scheduled:
        """Convert scheduled values to graph inputs; cached, since they rarely change."""
        if self._scheduled[0] != values:
            self._scheduled = values, like.new_tensor(values).unbind()
        return self._scheduled[1]

    def _stay_eager(self, eager: Compiled) -> Compiled:
        if not self._is_full:
            self.announce(
                f"{MOST_GRAPHS} chunk shapes are compiled; further ones run eagerly. If ways or "
                "shots vary, task.shape_block=data.meta_batch_size makes fewer shapes."
            )
        self._is_full = True
        return eager

    def _compile_or_stay_eager(
        self, eager: Compiled, meta: Parameters, chunk: Episode, scheduled: Scheduled
    ) -> Compiled:
        self.announce(f"Compiling the meta-gradient for {len(chunk.classes)} tasks at once ..")
        start = time.perf_counter()
        try:
            graph = compile_graph(eager, meta, chunk, scheduled)
            is_same = agree(graph, eager, meta, chunk, scheduled)
        except Exception as error:
            warnings.warn(f"Not compiled, running eagerly: {_reason(error)}", stacklevel=4)
        else:
            self.announce(f"Compiled in {time.perf_counter() - start:.0f} s.")
            if is_same:
                return graph
            warnings.warn(
                "The compiled meta-gradient differs from the eager one; running eagerly.",
                stacklevel=4,
            )
        self.is_used = False
        return eager


def compile_graph(
    eager: Compiled, meta: Parameters, chunk: Episode, scheduled: Scheduled
) -> Compiled:
    """Compile a function for exactly the shapes of these inputs.

    make_fx unrolls torch.func's transforms into plain operations that Inductor accepts. Dynamo
    rejects the transforms, and would check guards at every call.
    """
    inputs, names = _leaves(meta, chunk, scheduled), list(meta)
    tensors, form = pytree.tree_flatten(chunk)
    found: list[list[str]] = []  # names of the tensors in the gradient and in the report

    def flat(*leaves: Tensor) -> tuple[Tensor, ...]:
        start, end = len(names), len(names) + len(tensors)
        weights = dict(zip(names, leaves[:start], strict=True))
        tasks = pytree.tree_unflatten(leaves[start:end], form)
        gradient, report = eager(weights, tasks, leaves[end:])
        found[:] = [list(gradient), list(report)]
        return (*gradient.values(), *report.values())

    _keep_compiled_code()
    trace = make_fx(flat, DECOMPOSITIONS, tracing_mode="fake", _allow_non_fake_inputs=True)
    traced = trace(*inputs)
    options = {
        "fallback_random": True,  # the same random numbers as eager
        "cpp.threads": torch.get_num_threads(),  # compiled in, so part of the cache key
        # call the kernels from C++: Python's calls are slow and hold the interpreter lock
        "cpp_wrapper": inputs[0].device.type == "cpu",
        # only a single task's images are channels-last; others would be converted back and forth
    }
    # Inductor's cache is used only with a shape environment, even if it has no symbols
    shapes = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    with tracing(TracingContext(shapes)):
        compiled = torch._inductor.compile(
            traced, [shapes.from_tensor(t, static_shapes=True) for t in inputs], options=options
        )
    if inputs[0].is_cuda:
        compiled = one_launch(compiled, inputs)

    def run(meta: Parameters, chunk: Episode, scheduled: Scheduled) -> Result:
        with torch.no_grad():
            outputs = compiled(*_leaves(meta, chunk, scheduled))
        size = len(found[0])
        gradient = dict(zip(found[0], outputs[:size], strict=True))
        return gradient, dict(zip(found[1], outputs[size:], strict=True))

    return run


def _leaves(meta: Parameters, chunk: Episode, scheduled: Scheduled) -> list[Tensor]:
    examples = (*chunk.support.tensors, *chunk.query.tensors)
    return [*meta.values(), *examples, chunk.classes, *scheduled]


def _reason(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "InvalidCxxCompiler" in reason:
        return f"no working C++ compiler found; install g++, or set CXX ({reason})"
    return reason


def _keep_compiled_code() -> None:
    """Cache compiled code in the user's cache folder, for resumed runs and sweeps."""
    # torch writes its default, a temporary folder, into the environment
    if os.environ.get(CACHE, default_cache_dir()) == default_cache_dir():
        folder = user_path(os.environ.get("METALOOP_CACHE", "~/.cache/metaloop"))
        os.environ[CACHE] = str(folder / "compiled")
