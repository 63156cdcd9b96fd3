"""Run metaloop's commands as processes, with a time limit, a log, and progress lines."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

LINE_EVERY = 20.0  # seconds between two progress lines
GRACE = 60.0  # seconds for a stopped run to save


def start(command: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
    """Start metaloop-COMMAND with this Python; the process is the run itself."""
    program = f"from metaloop.cli.{command} import main; main()"
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdout=output, stderr=subprocess.STDOUT
        )


def finish(process: subprocess.Popen[bytes], log: Path, runs: Path, seconds: float) -> bool:
    """Wait for a command to end, or stop it after some time; return whether it ended by itself.

    Args:
        process: returned by `start`.
        log: its output.
        runs: folder that contains its run folder.
        seconds: time limit.

    Raises:
        RuntimeError: if it failed.

    """
    end = time.perf_counter() + seconds
    while process.poll() is None and (left := end - time.perf_counter()) > 0:
        try:
            process.wait(timeout=min(left, LINE_EVERY))
        except subprocess.TimeoutExpired:
            print(f"    meta-step {meta_step(runs)}", flush=True)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return False
    if process.returncode != 0:
        raise RuntimeError(f"ended with status {process.returncode}: {last_line(log)}")
    return True


def run(command: str, *arguments: str, log: Path, runs: Path, seconds: float = 600.0) -> bool:
    """Start a command and wait for it to end."""
    return finish(start(command, *arguments, log=log), log, runs, seconds)


def last_line(log: Path) -> str:
    """Return the last line with words in it; in a traceback this is the error."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def warnings_in(log: Path) -> list[str]:
    """Collect a run's warnings, for instance that it is not compiled."""
    lines = log.read_text(errors="replace").splitlines()
    return [line.partition("Warning: ")[2] for line in lines if "Warning: " in line]


def meta_step(runs: Path) -> int:
    """Return the last meta-step logged by the newest run in a folder; 0 if none."""
    logged = sorted(runs.glob("*/metrics.csv"))
    if not logged:
        return 0
    with logged[-1].open() as file:
        steps = [row["step"] for row in csv.DictReader(file) if row.get("step")]
    return int(steps[-1]) if steps else 0
