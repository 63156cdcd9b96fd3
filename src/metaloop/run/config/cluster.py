"""Runs whose processes were started by srun."""

import os

from lightning_fabric.plugins import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from metaloop.errors import UserError
from metaloop.run.config.settings import Device


def cluster_environments(device: Device) -> list[ClusterEnvironment]:
    """Return how a run's processes find each other in a Slurm job; empty if Lightning knows.

    Lightning knows outside of a job and under torchrun. A run of a single process ignores Slurm.

    Raises:
        UserError: if Slurm has started another number of processes than the config asks for.

    """
    if "SLURM_JOB_ID" not in os.environ:
        return []
    # "2", on three machines "2(x3)"; unset in a script or shell that srun did not start
    started = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
    if TorchElasticEnvironment.detect():
        _require_one_agent(started)
        return []
    _require_tasks(started, device)
    return [SlurmStep() if device.processes() > 1 else LightningEnvironment()]


def _require_one_agent(started: str) -> None:
    if started.partition("(")[0] != "1":
        raise UserError(
            f"srun has started {started} tasks a machine, and torchrun its processes in each: that "
            "many runs of one config. Give torchrun one task a machine, or let srun start the "
            "processes: compose_only=true, then srun python -m metaloop.run FOLDER."
        )


def _require_tasks(started: str, device: Device) -> None:
    here, nodes = device.processes_here(), device.nodes
    if started != (str(here) if nodes == 1 else f"{here}(x{nodes})"):
        raise UserError(
            f"The processes of this config are device.devices={here} a machine on device.nodes="
            f"{nodes}; Slurm has started {started} a machine. Start the folder by srun --nodes="
            f"{nodes} --ntasks-per-node={here} python -m metaloop.run FOLDER, or compose it for "
            "the tasks that there are."
        )


class SlurmStep(ClusterEnvironment):
    """The tasks of one srun.

    Lightning's own SLURMEnvironment requires --ntasks-per-node, and requeues the job itself, with a
    checkpoint from the middle of a step.
    """

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        if "MASTER_ADDR" in os.environ:
            return os.environ["MASTER_ADDR"]
        if os.environ["SLURM_STEP_NUM_NODES"] == "1":
            return "127.0.0.1"
        return SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])

    @property
    def main_port(self) -> int:
        """Derive a port from the job and step numbers, distinct for steps that run at once."""
        number = 7 * int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.get("MASTER_PORT", 15000 + number % 15000))

    @staticmethod
    def detect() -> bool:
        return "SLURM_STEP_NUM_TASKS" in os.environ

    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def set_world_size(self, size: int) -> None:
        """Do nothing: srun sets it."""

    def global_rank(self) -> int:
        return int(os.environ["SLURM_PROCID"])

    def set_global_rank(self, rank: int) -> None:
        """Do nothing: srun sets it."""

    def local_rank(self) -> int:
        return int(os.environ["SLURM_LOCALID"])

    def node_rank(self) -> int:
        return int(os.environ["SLURM_NODEID"])
