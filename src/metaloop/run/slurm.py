"""The processes of a run that srun has started."""

import os

from lightning_fabric.plugins import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from metaloop.errors import UserError
from metaloop.run.settings import Device


def cluster_environments(device: Device) -> list[ClusterEnvironment]:
    """How a run's processes find each other in a Slurm job; empty where Lightning knows.

    It does outside of a job and under torchrun. A run of one process in a job is no concern of
    Slurm's, whatever else the job has been given.

    Raises:
        UserError: Slurm has started another number of processes than the config says.

    """
    if TorchElasticEnvironment.detect() or "SLURM_JOB_ID" not in os.environ:
        return []
    _require_allocation(device)
    return [SlurmStep() if device.processes() > 1 else LightningEnvironment()]


def _require_allocation(device: Device) -> None:
    # of a script or a shell in the job, that no srun started, it says nothing
    started = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1")
    here, nodes = device.processes_here(), device.nodes
    if started != (str(here) if nodes == 1 else f"{here}(x{nodes})"):
        raise UserError(
            f"The config is for {here} on each of {nodes} machines (device.devices={here}, "
            f"device.nodes={nodes}), but the tasks that Slurm has started on each are {started}. "
            f"Start the folder by srun --nodes={nodes} --ntasks-per-node={here} python -m "
            "metaloop.run FOLDER, or compose it with device.devices and device.nodes as they are."
        )


class SlurmStep(ClusterEnvironment):
    """The tasks of one srun.

    Lightning's own SLURMEnvironment wants --ntasks-per-node, and requeues the job itself, with a
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
        """Every process knows the numbers of job and step; those at a time have ports apart."""
        number = 7 * int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.get("MASTER_PORT", 15000 + number % 15000))

    @staticmethod
    def detect() -> bool:
        return "SLURM_STEP_NUM_TASKS" in os.environ

    def world_size(self) -> int:
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def set_world_size(self, size: int) -> None:
        """It is srun's."""

    def global_rank(self) -> int:
        return int(os.environ["SLURM_PROCID"])

    def set_global_rank(self, rank: int) -> None:
        """It is srun's."""

    def local_rank(self) -> int:
        return int(os.environ["SLURM_LOCALID"])

    def node_rank(self) -> int:
        return int(os.environ["SLURM_NODEID"])
