"""What tests of sweeps share: starting one, waiting for its jobs, reading what became of them."""

import json
import subprocess
import sys
import time
from pathlib import Path

TINY = ("experiment=smoke", "logger=csv", "device=cpu", "callbacks=minimal")
SEARCH = (
    "hydra/sweeper=optuna",
    "hydra.sweeper.n_jobs=1",
    "hydra.sweeper.sampler.seed=5",
    "algorithm.inner_lr=tag(log,interval(0.001,0.1))",
)
COMMAND = str(Path(sys.executable).parent / "metaloop-train")


def start(root: Path, *arguments: str) -> subprocess.Popen:
    """Start a sweep whose folder is root/sweep."""
    return subprocess.Popen(
        [COMMAND, "-m", *TINY, *arguments, "hydra.sweep.dir=sweep"],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(root: Path, *arguments: str) -> tuple[int, str]:
    """Run a sweep to its end; return its exit status and what it said."""
    sweep = start(root, *arguments)
    said = sweep.communicate(timeout=500)[0]
    return sweep.returncode, said


def wait_until(condition, sweep: subprocess.Popen) -> None:
    """Wait for something that the sweep's jobs bring about."""
    while not condition():
        assert sweep.poll() is None, sweep.stdout.read()
        time.sleep(0.05)


def states(root: Path) -> list[str]:
    """The state of every job that has a folder."""
    paths = sorted((root / "sweep").glob("*/status.json"))
    return [json.loads(path.read_text())["state"] for path in paths]


def at_work(root: Path) -> list[Path]:
    """The folders of jobs that have logged a row."""
    return [path.parent for path in (root / "sweep").glob("*/metrics.csv")]


def running_in(root: Path) -> list[str]:
    """Every process that works below a folder."""
    shown = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    commands = [line for line in shown.stdout.splitlines() if "metaloop" in line]
    return [line for line in commands if is_in(int(line.split()[0]), root)]


def is_in(pid: int, root: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").resolve().is_relative_to(root.resolve())
    except OSError:
        return False
