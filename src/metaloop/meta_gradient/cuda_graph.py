"""A compiled graph as one launch on a GPU, where launching its kernels is what takes the time."""

import time
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metaloop.meta_gradient.random_state import keep_random_state

LAUNCH_BOUND = 0.5  # the share of a call that the processor takes to launch its kernels
WARM_UP = 3  # calls before a recording, in which libraries choose kernels and take workspaces

Function = Callable[..., Sequence[Tensor]]


def one_launch(function: Function, inputs: Sequence[Tensor]) -> Function:
    """The function recorded as a CUDA graph, if it is bound by launches; else as it is.

    A recording computes with the same kernels in the same order, and draws the same chance. It
    keeps the function's memory for itself, which a large network, whose kernels take longer than
    their launches, would only lose.

    Args:
        function: of CUDA tensors alone; the same kernels for all inputs of these shapes.
        inputs: some such tensors, left as they are.

    """
    device = inputs[0].device
    with torch.cuda.device(device), keep_random_state(device), torch.no_grad():
        places = [tensor.clone() for tensor in inputs]
        _warm_up(function, places)
        if _launching(function, places) < LAUNCH_BOUND:
            return function
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads (one that pins memory, NCCL's watchdog) may use the GPU meanwhile
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                results = function(*places)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"Compiled, but not recorded as a CUDA graph: {reason}", stacklevel=2)
            return function

    def replay(*inputs: Tensor) -> list[Tensor]:
        torch._foreach_copy_(places, inputs)
        graph.replay()
        return [result.clone() for result in results]  # the next replay writes over its own

    return replay


def _warm_up(function: Function, inputs: Sequence[Tensor]) -> None:
    """Call it on a stream of its own, as a recording will."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            function(*inputs)
    torch.cuda.current_stream().wait_stream(stream)


def _launching(function: Function, inputs: Sequence[Tensor]) -> float:
    """The share of a call's time after which all its kernels were launched."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    function(*inputs)
    launched = time.perf_counter() - start
    torch.cuda.synchronize()
    return launched / (time.perf_counter() - start)
