"""Run one of metaloop's commands as a process."""

import os
import re
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen
from typing import NamedTuple

# units of a resident set: kibibytes on Linux, bytes on macOS
UNITS_PER_MEBIBYTE = 1024 * 1024 if sys.platform == "darwin" else 1024


class Ran(NamedTuple):
    """What a command printed and cost; the peak memory is that of its largest process."""

    output: str
    cpu_seconds: float
    peak_mib: float

    @property
    def folder(self) -> Path:
        """The run folder of a metaloop-train."""
        (folder,) = re.findall(r"^Training: (.*)$", self.output, re.MULTILINE)
        return Path(folder)


def run_command(command: str, *arguments: str) -> Ran:
    """Run an installed command to its end, or end with what it printed."""
    program = str(Path(sys.executable).parent / command)
    process = Popen([program, *arguments], stdout=PIPE, stderr=STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command} {' '.join(arguments)}\nended with an error:\n{output}")
    peak = usage.ru_maxrss / UNITS_PER_MEBIBYTE
    return Ran(output, usage.ru_utime + usage.ru_stime, peak)


def run_train(runs: Path, *overrides: str) -> Ran:
    """Run one metaloop-train, in a new folder inside `runs`, without W&B and pictures."""
    quiet = (f"output_dir={runs}", "logger=csv", "callbacks.pictures=null")
    return run_command("metaloop-train", *quiet, *overrides)
