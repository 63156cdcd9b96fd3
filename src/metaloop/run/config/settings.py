"""The sections of a config that contain values, not nodes to construct."""

import os
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from metaloop.adapted import Format, Head
from metaloop.arguments import Count, CountOrZero, Positive
from metaloop.errors import UserError
from metaloop.inner_loop import NormModeName
from metaloop.meta_gradient import ChunksAtOnce, TasksAtOnce
from metaloop.tasks import Split
from metaloop.training.estimate import EpisodeInterval


@dataclass(frozen=True, kw_only=True)
class Training:
    """Length of a training, and intervals of validating, logging and saving, in meta-steps."""

    max_steps: CountOrZero
    own_lr: Positive | None
    validate_every: Count
    log_every: Count
    save_every: Count
    clip_norm: Positive | None
    clip_value: Positive | None
    stop_when_diverged: bool
    report: bool


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Episodes, checkpoint and norm modes of an evaluation.

    Older runs have no key `interval`: theirs is closed.
    """

    split: Split
    episodes: Count
    checkpoint: Literal["best", "last", "ensemble"]
    ensemble_size: Count
    norm_modes: list[NormModeName]
    interval: EpisodeInterval = "closed"

    def require(self, training: Training) -> None:
        """Refuse an ensemble if the run is never validated.

        Raises:
            UserError: if the run is too short.

        """
        if self.checkpoint == "ensemble" and training.max_steps < training.validate_every:
            raise UserError(
                "evaluation.checkpoint=ensemble averages the best checkpoints in validation, and "
                f"a run of {training.max_steps} meta-steps is never validated. Lower "
                f"training.validate_every={training.validate_every}, or take checkpoint=last."
            )


def _refuse_half(value: object) -> object:
    if value in ("16-mixed", "16-true", "16", 16):
        raise PydanticCustomError(
            "half_precision",
            "float16 underflows in the inner loop, which no loss scaling reaches; bf16-mixed takes "
            "as little memory, 32-true is exact",
        )
    return value


Precision = Annotated[Literal["32-true", "64-true", "bf16-mixed"], BeforeValidator(_refuse_half)]


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """Examples to adapt to and to predict, and how."""

    support: str
    query: str | None
    steps: CountOrZero | None
    head: Head | None
    checkpoint: Literal["best", "last"]
    skip_unusable: bool
    export: list[Format]


@dataclass(frozen=True, kw_only=True)
class Device:
    """The device of a run, and settings of its computation."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"]
    devices: Count | Literal["auto"]
    nodes: Count
    precision: Precision
    tasks_at_once: TasksAtOnce | Literal["auto"]
    compile: bool | Literal["auto"]
    deterministic: bool
    threads: Count | None = None
    matmul_precision: Literal["highest", "high", "medium"] = "highest"
    chunks_at_once: ChunksAtOnce | Literal["auto"] = 1

    @property
    def is_open(self) -> bool:
        """Check whether a key is `auto`, to be decided by measuring."""
        return "auto" in (self.tasks_at_once, self.chunks_at_once, self.compile)

    def use_threads(self) -> None:
        """Set the number of torch's threads in this process."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)

    def gpus_here(self) -> int:
        """Return the number of GPUs to choose from; 0 if the run uses none."""
        return 0 if self.accelerator in ("cpu", "mps") else torch.cuda.device_count()

    def torch_device(self) -> torch.device:
        """Return the device of a single process."""
        if self.accelerator == "mps":
            return torch.device("mps")
        on_gpu = self.accelerator != "cpu" and torch.cuda.is_available()
        return torch.device("cuda" if on_gpu else "cpu")

    def processes_here(self) -> int:
        """Return the number of processes on this machine."""
        if self.devices != "auto":
            return self.devices
        return max(1, self.gpus_here())

    def processes(self) -> int:
        """Return the number of processes on all machines."""
        return self.processes_here() * self.nodes

    def require_started(self) -> None:
        """Check the number of started processes against the config.

        Raises:
            UserError: if torchrun started another number, or nothing starts the other machines.

        """
        started = int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else None
        if started not in (None, self.processes()):
            raise UserError(
                f"device.nodes={self.nodes} times device.devices={self.devices} makes "
                f"{self.processes()} processes, and torchrun has started {started}. Start as many, "
                "or set device.nodes and device.devices accordingly."
            )
        if started is None and self.nodes > 1 and "SLURM_NTASKS" not in os.environ:
            raise UserError(
                f"device.nodes={self.nodes}: every machine starts its own processes. Execute the "
                "folder by torchrun on each, or by srun; or set device.nodes=1."
            )

    def require(self) -> None:
        """Check that this machine has the accelerators.

        Raises:
            UserError: if there are fewer than the config asks for.

        """
        found = torch.cuda.device_count()
        wants_gpu = self.accelerator in ("gpu", "cuda") or (self.accelerator == "auto" and found)
        if wants_gpu and not 0 < self.processes_here() <= found:
            raise UserError(
                f"device.accelerator={self.accelerator} with devices={self.devices} needs that "
                f"many GPUs; torch finds {found} here. Set device.accelerator=cpu or auto."
            )
        if self.accelerator == "mps" and not torch.backends.mps.is_available():
            raise UserError(
                "device.accelerator=mps needs an Apple GPU; none is here. Set it to cpu."
            )
