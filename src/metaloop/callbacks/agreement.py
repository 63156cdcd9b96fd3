"""How all processes of a run stop at one step."""

import torch
import torch.distributed as dist


class Agreement:
    """Whether any process wants to stop, known to all of them one step later.

    Each step starts a sum over the processes and reads that of the step before: nobody waits for
    an accelerator, and all read the same answer at the same step.
    """

    def __init__(self) -> None:
        # on the processor, whatever the gradients travel by
        self._group = dist.new_group(backend="gloo")
        self._wishes: torch.Tensor | None = None
        self._under_way: dist.Work | None = None

    def ask(self, wish: bool) -> bool:
        """Say whether this process wants to stop; return whether any did a step ago."""
        if self.settle():
            return True
        self._wishes = torch.tensor([int(wish)])
        self._under_way = dist.all_reduce(self._wishes, group=self._group, async_op=True)
        return False

    def settle(self) -> bool:
        """Wait for the sum under way, if there is one; return whether anybody wanted to stop."""
        if self._under_way is None or self._wishes is None:
            return False
        self._under_way.wait()
        self._under_way = None
        return bool(self._wishes.item())
