"""The log window, the meta-steps since the last logged one: means, speed, memory."""

import resource
import time
from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor

from metaloop.inner_loop import Report


class Sums(TypedDict):
    """The part of a window before a checkpoint, which the checkpoint contains."""

    steps: int
    values: dict[str, Tensor]  # [processes], the sum of each


class LogWindow:
    """Sums the reports of meta-steps on the device, so that no step waits.

    Attributes:
        steps: number of meta-steps added.
        sums: sum of each value's means over the process's tasks, scalars.

    """

    def __init__(self) -> None:
        self.steps, self.sums = 0, dict[str, Tensor]()
        self.start()

    def start(self) -> None:
        """Start the clock."""
        self._tasks, self._since = 0, time.perf_counter()

    def add(self, report: Report) -> None:
        """Add a meta-step's report, [T] per value."""
        means = {name: values.mean() for name, values in report.items()}
        if self.steps:
            means = {name: self.sums[name] + mean for name, mean in means.items()}
        self.sums, self.steps = means, self.steps + 1
        self._tasks += len(next(iter(report.values())))

    def means(self) -> dict[str, Tensor]:
        """Return each value's mean over the meta-steps added."""
        return {name: total / self.steps for name, total in self.sums.items()}

    def close(self) -> None:
        """Begin a new window."""
        self.steps, self.sums = 0, {}

    def take_cost(self, processes: int, device: torch.device) -> dict[str, float]:
        """Return episodes per second of all processes since the last call, and the peak memory."""
        speed = self._tasks * processes / (time.perf_counter() - self._since)
        self.start()
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**20
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return {"episodes_per_second": speed, "memory_mb": peak}

    def save(self, gather: Callable[[Tensor], Tensor]) -> Sums:
        """Return the window for a checkpoint; `gather` joins the tensors [1] of all processes."""
        sums = {name: gather(total[None]).cpu() for name, total in self.sums.items()}
        return Sums(steps=self.steps, values=sums)

    def load(self, kept: Sums | None, rank: int, processes: int) -> None:
        """Continue the window of a checkpoint; with another number of processes from their mean."""
        kept = kept or Sums(steps=0, values={})  # an older checkpoint has none
        self.steps = kept["steps"]
        self.sums = {
            name: sums[rank] if len(sums) == processes else sums.mean()
            for name, sums in kept["values"].items()
        }
