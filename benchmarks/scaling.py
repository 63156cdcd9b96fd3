"""Measure a meta-step's time by number of tasks, ways, inner steps, image size and processes.

    python benchmarks/scaling.py --out scaling --plot scaling.png
    python benchmarks/scaling.py --only adapters --threads 1 --out adapters

MAML on Conv4-32 (strided), 5-way 1-shot with 5 queries per class, 28 x 28, 8 tasks, 1 inner step,
varying one value at a time; then tasks of a small transformer, and of adapters on a frozen one of
two layers. Everything in turn, `--rounds` times, compared with a plain loop over the tasks.
Processes share the cores: each uses one thread for its part of the meta-batch.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import torch
from against_peers import turn
from record import Part, how_made, made, save
from rich.console import Console
from speed import transformer
from speed.ours import bare_step, logged_seconds, memory_of, one_arena
from speed.peers import plain_loop
from speed.picture import ratios
from speed.work import Step, Work

BASE = Work("", 8, 5, 1, 5, (1, 28, 28), 32, "stride", 1, 0.1)
VARIED = {
    "tasks": (1, 2, 4, 8, 16, 32),
    "ways": (2, 5, 10, 20),
    "inner_steps": (1, 2, 4, 8),
    "image": (14, 28, 56, 84),
}
TRANSFORMERS = (4, 16, 32)  # tasks of a small transformer
RANK = 4  # of adapters
PROCESSES = (1, 2)
QUANTITIES = (*VARIED, "transformer", "adapters", "processes")
Seconds = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print a table, and draw it."""
    arguments = parse()
    one_arena()
    torch.set_num_threads(arguments.threads)
    console = Console()
    found: dict[str, Seconds] = {}
    for what, value, seconds in measured(arguments, console):
        found.setdefault(what, {})[str(value)] = seconds
        print(line(what, value, seconds), flush=True)
    parts = {"growth": {"made": made(arguments.threads), "seconds": found}}
    if arguments.out:
        save(parts, tables(parts), arguments.out)
    if arguments.plot:
        draw(found, arguments.plot)


def measured(
    arguments: argparse.Namespace, console: Console
) -> Iterator[tuple[str, int, dict[str, list[float]]]]:
    """Yield what is varied, its value, and the seconds per step of each."""
    for what, value, steps in works(arguments.only):
        with console.status(f"{what} = {value}"):
            seconds = measure(steps, arguments)
        yield what, value, seconds
    for ranks in PROCESSES if "processes" in arguments.only else ():
        with console.status(f"{ranks} processes"):
            times = [time_of_ranks(ranks, arguments.meta_steps) for _ in range(arguments.rounds)]
        yield "processes", ranks, {"metaloop": times}


def tables(parts: Mapping[str, Part]) -> str:
    """Make the table, and say how it was made."""
    (part,) = parts.values()
    lines = [
        "| varied | value | ms | plain loop, ms | times as fast (smallest to largest) |",
        "|---|---|---|---|---|",
        *(
            line(what, value, seconds)
            for what, values in part["seconds"].items()
            for value, seconds in values.items()
        ),
    ]
    return "\n".join([*lines, "", how_made(part["made"])])


def line(what: str, value: int | str, seconds: dict[str, list[float]]) -> str:
    """Make a line of the table."""
    shown = [f"{1e3 * statistics.median(times):.1f}" for times in seconds.values()]
    if "plain loop" not in seconds:
        return f"| {what} | {value} | {shown[0]} | | |"
    times = ratios(seconds, "metaloop", "plain loop")
    spread = f"{statistics.median(times):.2f} ({min(times):.2f} to {max(times):.2f})"
    return f"| {what.replace('_', ' ')} | {value} | {shown[0]} | {shown[1]} | {spread} |"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=QUANTITIES, default=QUANTITIES)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--turn", type=float, default=0.5, help="seconds per turn, at least one step"
    )
    parser.add_argument(
        "--meta-steps", type=int, default=120, help="meta-steps of the runs with processes"
    )
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md")
    parser.add_argument("--plot", type=Path, help="a picture of all values")
    return parser.parse_args()


def works(only: Sequence[str]) -> Iterator[tuple[str, int, dict[str, Step]]]:
    """Yield each value of each varied quantity, with the others as in BASE; then transformers."""
    for what, values in VARIED.items():
        for value in values if what in only else ():
            change = {what: (1, value, value) if what == "image" else value}
            work = replace(BASE, **change)
            steps = {"metaloop": bare_step(work, compile=False), "plain loop": plain_loop(work)}
            yield what, value, steps
    networks = {"transformer": {}, "adapters": {"layers": 2, "rank": RANK}}
    for what, network in networks.items():
        for tasks in TRANSFORMERS if what in only else ():
            yield what, tasks, transformer.steps(tasks, **network)


def measure(steps: dict[str, Step], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Measure the seconds per step of metaloop and of the plain loop, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in steps.items():
        with memory_of(name):
            step()
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            with memory_of(name):
                seconds[name].append(turn(step, arguments.turn))
    return seconds


def time_of_ranks(ranks: int, meta_steps: int) -> float:
    """Measure metaloop-train's seconds per meta-step on harmonic tasks with a wide network."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["metaloop-train", "task=harmonic", "model.hidden=[512,512]", "logger=csv"]
        command += ["data.meta_batch_size=32", f"training.max_steps={meta_steps}"]
        command += [f"training.log_every={meta_steps // 6}", "callbacks=minimal"]
        command += ["training.validate_every=1000000", f"output_dir={folder}", "device.threads=1"]
        command += ["device=ddp", "device.accelerator=cpu", f"device.devices={ranks}"]
        program = Path(sys.executable).parent / command[0]
        subprocess.run([program, *command[1:]], check=True, capture_output=True)
        return logged_seconds(folder, 32)


def draw(found: dict[str, Seconds], path: Path) -> None:
    """Draw one panel per quantity: time against it, both axes in powers of two."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(1, len(found), figsize=(3 * len(found), 3))
    for panel, (what, values) in zip(panels, found.items(), strict=True):
        for name in next(iter(values.values())):
            times = [1e3 * statistics.median(of[name]) for of in values.values()]
            panel.plot([int(value) for value in values], times, "o-", label=name)
        panel.set_xscale("log", base=2)
        panel.set_yscale("log", base=2)
        panel.set_xlabel(what.replace("_", " "))
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("ms per meta-step")
    panels[0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
