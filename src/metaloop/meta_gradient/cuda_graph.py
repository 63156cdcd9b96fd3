"""Launch a compiled graph as one CUDA graph, where launching its kernels dominates the time."""

import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metaloop.meta_gradient.random_state import keep_random_state

LAUNCH_BOUND = 0.5  # share of a call's time that the CPU spends launching kernels
WARM_UP = 3  # calls before recording, in which libraries choose kernels and allocate workspaces

Function = Callable[..., Sequence[Tensor]]


def one_launch(function: Function, inputs: Sequence[Tensor]) -> Function:
    """Record the function as a CUDA graph if it is bound by launches; else return it unchanged.

    A recording runs the same kernels in the same order, with the same random numbers. It reserves
    the function's memory, which is not worth it for a large network, whose kernels take longer
    than their launches.

    Args:
        function: of CUDA tensors only; runs the same kernels for all inputs of these shapes.
        inputs: example tensors, left unchanged.

    """
    device = inputs[0].device
    with torch.cuda.device(device), keep_random_state(device), torch.no_grad():
        static = [tensor.clone() for tensor in inputs]
        _warm_up(function, static)
        if _launch_share(function, static) < LAUNCH_BOUND:
            return function
        graph = torch.cuda.CUDAGraph()
        # other threads (memory pinning, NCCL's watchdog) may use the GPU meanwhile
        recording = torch.cuda.graph(graph, capture_error_mode="thread_local")
        try:
            # a recording that fails leaves its stream current
            with torch.cuda.stream(torch.cuda.current_stream()), recording:
                results = function(*static)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"Compiled, but not recorded as a CUDA graph: {reason}", stacklevel=2)
            return function

    def replay(*inputs: Tensor) -> list[Tensor]:
        torch._foreach_copy_(static, inputs)
        graph.replay()
        return [result.clone() for result in results]  # the next replay overwrites them

    return replay


def _warm_up(function: Function, inputs: Sequence[Tensor]) -> None:
    """Call it on a separate stream, as recording requires."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)


def _launch_share(function: Function, inputs: Sequence[Tensor]) -> float:
    """Measure the share of a call's time after which all its kernels are launched."""
    function(*inputs)  # this stream allocates its memory, which the warm-up's has not done for it
    torch.cuda.synchronize()
    start = time.perf_counter()
    function(*inputs)
    launched = time.perf_counter() - start
    torch.cuda.synchronize()
    return launched / (time.perf_counter() - start)
