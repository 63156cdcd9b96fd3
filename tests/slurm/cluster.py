"""A real Slurm of one node with two processors, in a folder of its own.

Needs Debian's packages slurm-wlm and munge (slurmctld, slurmd, munged, sbatch, srun on the PATH)
and no running Slurm: ports, keys and state are its own.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo")
CONFIG = """\
ClusterName=metaloop
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
# a requeued job waits for as long as a credential lives
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# no cgroups, no accounting: this runs in a container
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=60
NodeName=localhost NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=graceful Nodes=localhost Default=YES PriorityTier=1 GraceTime=120
PartitionName=abrupt Nodes=localhost PriorityTier=1 GraceTime=0
PartitionName=urgent Nodes=localhost PriorityTier=2 PreemptMode=OFF
"""
DONE = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED")


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Slurm:
    """A started cluster: what a user does on its login node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen] = []
        place = {"SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, **place, "PATH": path}

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        config = CONFIG.format(
            folder=self.folder,
            controller_port=_free_port(),
            node_port=_free_port(),
            user=getpass.getuser(),
            host=socket.gethostname().split(".")[0],
        )
        (self.folder / "slurm.conf").write_text(config)
        files = {
            "key-file": "munge.key",
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munged.seed",
        }
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._daemon("munged", "--foreground", "--force", *options)
        _wait_until((self.folder / "munge.socket").exists, 30, "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D")
        idle = lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T").stdout  # noqa: E731
        _wait_until(idle, 60, "the node")

    def stop(self) -> None:
        self.run("scancel", "--user", getpass.getuser())
        _wait_until(lambda: not self.run("squeue", "--noheader").stdout, 120, "the last job")
        for daemon in reversed(self._daemons):
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(timeout=60)

    def run(self, *command: str, timeout: float = 900, **kwargs) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            **kwargs,
        )

    def submit(self, script: Path, *options: str) -> str:
        """Submit a batch script; return the job's number. Its output is SCRIPT.out."""
        output = script.with_suffix(".out")
        done = self.run("sbatch", "--parsable", f"--output={output}", *options, str(script))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, number: str) -> dict[str, str]:
        """What Slurm knows of a job: JobState, Restarts, .."""
        said = self.run("scontrol", "--oneliner", "show", "job", number).stdout
        return dict(word.split("=", 1) for word in said.split() if "=" in word)

    def signal(self, number: str, name: str) -> None:
        """Send what `sbatch --signal=NAME@..` sends: to the steps, not to the script."""
        done = self.run("scancel", f"--signal={name}", number)
        assert done.returncode == 0, done.stderr

    def finish(self, number: str, timeout: float = 900) -> str:
        """Wait for the end of a job; return the state that it ended in."""
        _wait_until(lambda: self.job(number)["JobState"] in DONE, timeout, f"job {number}")
        return self.job(number)["JobState"]

    def _daemon(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.stdout").open("w") as output:
            daemon = subprocess.Popen(
                command, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._daemons.append(daemon)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("", 0))
        return sock.getsockname()[1]


def _wait_until(is_true, timeout: float, what: str) -> None:
    end = time.monotonic() + timeout
    while not is_true():
        assert time.monotonic() < end, f"{what} took more than {timeout} seconds"
        time.sleep(0.2)
