"""What a run ran on: versions, git state, machine."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = (
    "metaloop",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "wandb",
    "numpy",
)


def versions() -> dict[str, str]:
    """The version of Python and of every package that makes the numbers."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def describe_environment() -> dict[str, object]:
    """Versions, git state of the working directory, processor and accelerators."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "versions": versions(),
        "git": _git_state(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def processor() -> str:
    """The processor's model, where the system says it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state() -> dict[str, object] | None:
    """Commit and whether files differ from it; None outside a repository or without git."""
    try:
        commit, changes = (
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout
            for command in (["git", "rev-parse", "HEAD"], ["git", "status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "is_modified": bool(changes.strip())}
