"""The chunk's gradient as one compiled graph, used only where it equals the eager one."""

import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator

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
from metaloop.inner_loop import Parameters, Report
from metaloop.meta_gradient.cuda_graph import one_launch
from metaloop.meta_gradient.decompositions import DECOMPOSITIONS
from metaloop.meta_gradient.meta_gradient import Gradient, chunk_gradient
from metaloop.meta_gradient.random_state import keep_random_state

# of a gradient tensor's norm: the compiled graph sums in another order
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-9, torch.bfloat16: 5e-2}
MOST_GRAPHS = 16  # each takes up to a minute and, on a GPU, memory: further shapes stay eager
KINK = 100.0  # times that, what a number on the other side of a kink may change
CACHE = "TORCHINDUCTOR_CACHE_DIR"
Result = tuple[Gradient, Report]
Scheduled = tuple[Tensor, ...]  # Algorithm.scheduled
Compiled = Callable[[Parameters, Episode, Scheduled], Result]


class CompiledChunkGradient:
    """A stand-in for `chunk_gradient`, compiled once for each shape and algorithm it meets.

    Numbers that an algorithm's schedule changes are an input of its graph, not another algorithm.

    The first result of every graph is compared with the eager one: where they differ, or nothing
    can be compiled, eager it stays, with a warning. So does a shape after MOST_GRAPHS others.

    Several threads may call it at once: one compiles while the others wait, and eagerly, where the
    model holds the parameters of its task, one computes at a time.

    Args:
        announce: told what is being compiled, and how long it took.

    """

    def __init__(self, announce: Callable[[str], None] = lambda _: None) -> None:
        self.announce = announce
        self.is_used = True  # until one graph has to stay eager
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
        shapes = (tasks, inputs[0].dtype, inputs[0].device, *[t.shape for t in inputs])
        graph = self._known(shapes, algorithm)
        if graph is None:

            def eager(meta: Parameters, chunk: Episode, scheduled: Scheduled) -> Result:
                with self._lock:
                    return chunk_gradient(algorithm.with_scheduled(scheduled), meta, chunk, tasks)

            with self._lock:
                graph = self._known(shapes, algorithm)  # by the thread that was waited for
                if graph is None and len(self._graphs) >= MOST_GRAPHS:
                    graph = self._stay_eager(eager)
                elif graph is None:
                    graph = self._compile_or_stay_eager(eager, meta, chunk, scheduled)
                    self._graphs.append((shapes, algorithm, graph))
        return graph(meta, chunk, scheduled)

    def _known(self, shapes: object, algorithm: Algorithm) -> Compiled | None:
        for known, owner, graph in self._graphs:
            # the same object nearly always: comparing two takes longer than a small step's kernels
            if known == shapes and (owner is algorithm or owner == algorithm):
                return graph
        return None

    def _as_tensors(self, numbers: tuple[float, ...], like: Tensor) -> Scheduled:
        """The numbers as a graph takes them; the same as in the last meta-step nearly always."""
        if self._scheduled[0] != numbers:
            self._scheduled = numbers, like.new_tensor(numbers).unbind()
        return self._scheduled[1]

    def _stay_eager(self, eager: Compiled) -> Compiled:
        if not self._is_full:
            self.announce(
                f"{MOST_GRAPHS} shapes of chunks are compiled; others are computed eagerly. Where "
                "ways or shots vary, task.shape_block=data.meta_batch_size makes fewer shapes."
            )
        self._is_full = True
        return eager

    def _compile_or_stay_eager(
        self, eager: Compiled, meta: Parameters, chunk: Episode, scheduled: Scheduled
    ) -> Compiled:
        self.announce(f"Compiling the meta-gradient, tasks at once: {len(chunk.classes)} ..")
        start = time.perf_counter()
        try:
            graph = compile_graph(eager, meta, chunk, scheduled)
            is_same = _agree(graph, eager, meta, chunk, scheduled)
        except Exception as error:
            warnings.warn(f"Not compiled, running eagerly: {_why(error)}", stacklevel=4)
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
    """Compile a function of these inputs for their very shapes.

    make_fx unrolls torch.func's transforms into plain operations, which Inductor takes; Dynamo
    refuses the transforms themselves, and would check its guards at every call.
    """
    inputs, names = _leaves(meta, chunk, scheduled), list(meta)
    tensors, form = pytree.tree_flatten(chunk)
    found: list[list[str]] = []  # names of the gradient's tensors and of the report's

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
        "fallback_random": True,  # chance as eager draws it
        "cpp.threads": torch.get_num_threads(),  # written into its code: part of the cache's key
        # the calls between kernels in C++: they take long, and Python takes one thread at a time
        "cpp_wrapper": inputs[0].device.type == "cpu",
        # one task's images lie channels last; of several tasks' they would be turned to and fro
        "layout_optimization": len(chunk.classes) == 1,
    }
    # Inductor finds what it has compiled before only where there are symbols of shapes, if unused
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


def _why(error: Exception) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "InvalidCxxCompiler" in reason:
        return f"no C++ compiler works here; install g++, or name one by CXX ({reason})"
    return reason


def _keep_compiled_code() -> None:
    """Keep what the compiler makes among the user's caches: a resumed run or a sweep finds it."""
    # torch writes its own default, a temporary folder, into the environment
    if os.environ.get(CACHE, default_cache_dir()) == default_cache_dir():
        folder = user_path(os.environ.get("METALOOP_CACHE", "~/.cache/metaloop"))
        os.environ[CACHE] = str(folder / "compiled")


def _agree(
    graph: Compiled, eager: Compiled, meta: Parameters, chunk: Episode, scheduled: Scheduled
) -> bool:
    """Whether both give the same, from the same state of chance, which is left as it was.

    Rounding can put a number on the other side of a kink (of a ReLU, of max-pooling), where the
    slope is another. So they are compared near `meta` again where they are close but not the same;
    a graph that is wrong is the same as eager nowhere.
    """
    for point in _points(meta):
        results = []
        for function in (graph, eager):
            with keep_random_state(chunk.classes.device):
                results.append(function(point, chunk, scheduled)[0])
        if _is_within(1.0, *results):
            return True
        if not _is_within(KINK, *results):
            return False
    return False


def _points(meta: Parameters) -> Iterator[Parameters]:
    """The meta-parameters themselves, then some others near them."""
    yield meta
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        draws = {n: torch.randn(p.shape, generator=generator).to(p) for n, p in meta.items()}
        yield {
            n: p + 1e-2 * p.norm() / max(1, p.numel()) ** 0.5 * draws[n] for n, p in meta.items()
        }


def _is_within(tolerances: float, one: Gradient, other: Gradient) -> bool:
    """Compare tensor by tensor; one that is tiny beside the whole gradient may be noise."""
    norm = torch.stack([g.norm() for g in other.values()]).norm()
    return all(
        bool((one[n] - g).norm() <= tolerances * TOLERANCE[g.dtype] * (g.norm() + 1e-3 * norm))
        for n, g in other.items()
    )
