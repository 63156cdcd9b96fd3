"""How all processes of a run stop at one step."""

import torch
import torch.distributed as dist


class Agreement:
    """The signal that any process is to stop by, known to all of them one step later.

    Each step starts a maximum over the processes and reads that of the step before: nobody waits
    for an accelerator, and all read the same answer at the same step.
    """

    def __init__(self) -> None:
        # on the processor, whatever the gradients travel by
        self._group = dist.new_group(backend="gloo")
        self._signals: torch.Tensor | None = None
        self._under_way: dist.Work | None = None

    def ask(self, signal_number: int) -> int:
        """Say what this process has received, 0 for nothing; return what any had a step ago."""
        if received := self.settle():
            return received
        self._signals = torch.tensor([signal_number])
        self._under_way = dist.all_reduce(
            self._signals, op=dist.ReduceOp.MAX, group=self._group, async_op=True
        )
        return 0

    def settle(self) -> int:
        """Wait for the maximum under way, if there is one, and return it."""
        if self._under_way is None or self._signals is None:
            return 0
        self._under_way.wait()
        self._under_way = None
        return int(self._signals.item())
