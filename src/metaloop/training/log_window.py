"""What the meta-steps since the last logged one had in common: means, speed, memory."""

import resource
import time
from typing import TypedDict

import torch
from torch import Tensor

from metaloop.inner_loop import Report


class Sums(TypedDict):
    """What a checkpoint keeps of an window that it cuts in two."""

    steps: int
    values: dict[str, Tensor]  # [processes], the sums of each


class LogWindow:
    """Adds up on the device what meta-steps report: no step waits for it.

    Attributes:
        steps: how many have been added.
        sums: of each value's means over the process's tasks, a scalar each.

    """

    def __init__(self) -> None:
        self.steps, self.sums = 0, dict[str, Tensor]()
        self.start()

    def start(self) -> None:
        """Begin to take the time."""
        self._tasks, self._since = 0, time.perf_counter()

    def add(self, report: Report) -> None:
        """Add a meta-step's report, [T] a value."""
        means = {name: values.mean() for name, values in report.items()}
        if self.steps:
            means = {name: self.sums[name] + mean for name, mean in means.items()}
        self.sums, self.steps = means, self.steps + 1
        self._tasks += len(next(iter(report.values())))

    def means(self) -> dict[str, Tensor]:
        """Each value's mean over the meta-steps added."""
        return {name: total / self.steps for name, total in self.sums.items()}

    def close(self) -> None:
        """Forget the meta-steps added."""
        self.steps, self.sums = 0, {}

    def take_cost(self, processes: int, device: torch.device) -> dict[str, float]:
        """Episodes a second of all processes since the last time, and the peak memory so far."""
        speed = self._tasks * processes / (time.perf_counter() - self._since)
        self.start()
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**20
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        return {"episodes_per_second": speed, "memory_mb": peak}

    def load(self, kept: Sums | None, rank: int, processes: int) -> None:
        """Go on where a checkpoint was written; by other processes, with the mean of theirs."""
        kept = kept or Sums(steps=0, values={})  # written before there was such
        self.steps = kept["steps"]
        self.sums = {
            name: sums[rank] if len(sums) == processes else sums.mean()
            for name, sums in kept["values"].items()
        }
