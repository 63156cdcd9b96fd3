"""Make all processes of a run stop at the same step."""

import torch
import torch.distributed as dist


class Agreement:
    """Tells all processes, one step later, of a stop signal that any of them received.

    Each step starts a maximum over the processes and reads the result of the previous step. So no
    process waits for an accelerator, and all read the same answer at the same step.
    """

    def __init__(self) -> None:
        # on the CPU, whatever the backend of the gradients
        self._group = dist.new_group(backend="gloo")
        self._signals: torch.Tensor | None = None
        self._pending: dist.Work | None = None

    def ask(self, signal_number: int) -> int:
        """Send this process's signal, 0 for none; return the signal of any process a step ago."""
        if received := self.settle():
            return received
        self._signals = torch.tensor([signal_number])
        self._pending = dist.all_reduce(
            self._signals, op=dist.ReduceOp.MAX, group=self._group, async_op=True
        )
        return 0

    def settle(self) -> int:
        """Wait for the pending maximum, if there is one, and return it."""
        if self._pending is None or self._signals is None:
            return 0
        self._pending.wait()
        self._pending = None
        return int(self._signals.item())
