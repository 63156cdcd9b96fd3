"""Time one meta-step of metaloop and its peers, alternating in one process: ratios and spread.

    python benchmarks/against_peers.py --threads 1 --works sinusoid --out sinusoid
    python benchmarks/against_peers.py --data-dir OMNIGLOT --out peers --plot peers.png

All use the same network, tasks, inner steps, Adam and float32, and their first gradients are
compared with the plain loop's. A metaloop run makes malloc keep freed memory, and so does its bare
step here; peers use malloc's defaults, except for a single arena for all threads. Peers that are
not installed are left out (benchmarks/peers.sh installs them). Results of other works in --out are
kept and drawn too. The share of the peak refers to this machine's matrix-multiply peak, which is
measured as well.
"""

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from record import Made, how_made, made, read, save
from rich.console import Console
from speed.jax_peer import jax_step
from speed.ours import bare_step, memory_of, one_arena, whole_loop
from speed.peers import PEERS, plain_loop
from speed.picture import base_of, draw, ratios
from speed.work import WORKS, Step, Work
from torch.utils.flop_counter import FlopCounterMode

COMPILED = "metaloop, compiled"
CANDIDATES: dict[str, Callable[[Work], Step]] = {
    **PEERS,
    "JAX": jax_step,
    "metaloop": lambda work: bare_step(work, compile=False),
    COMPILED: lambda work: bare_step(work, compile=True),
}


class Measured(TypedDict):
    """One work's seconds per meta-step, by who and round, and what they are compared with."""

    work: str
    seconds: dict[str, list[float]]
    flop: int
    peak: float
    made: Made


def main() -> None:
    """Measure every work, and print one table for each."""
    arguments = parse()
    one_arena()
    torch.set_num_threads(arguments.threads)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])  # JAX reads this
    warnings.simplefilter("ignore")
    console = Console()
    record: dict[str, Measured] = read(arguments.out)
    for name in arguments.works:
        work = replace(WORKS[name], device=arguments.device)
        with console.status(name) as status:
            seconds = measure(work, arguments, status.update)
        flop, peak = count_flop(work), matmul_peak(work.device)
        record[name] = Measured(
            work=work.name, seconds=seconds, flop=flop, peak=peak, made=made(arguments.threads)
        )
        print(f"\n{table(record[name])}", flush=True)
        if arguments.out:
            save(record, tables(record), arguments.out)
    if arguments.plot:
        draw({one["work"]: one["seconds"] for one in record.values()}, arguments.plot)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--who", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=7, help="number of rounds")
    parser.add_argument(
        "--turn", type=float, default=0.5, help="seconds per turn, at least one step"
    )
    parser.add_argument(
        "--meta-steps", type=int, default=1200, help="meta-steps of the whole loop; 0: none"
    )
    parser.add_argument("--data-dir", type=Path, help="Omniglot's archives, for the whole loop")
    parser.add_argument("--out", type=Path, help="writes OUT.json and OUT.md, or adds to them")
    parser.add_argument("--plot", type=Path, help="a picture of all values")
    return parser.parse_args()


def measure(
    work: Work, arguments: argparse.Namespace, tell: Callable[[str], None]
) -> dict[str, list[float]]:
    """Measure everybody's seconds per step, one value per round."""
    steps: dict[str, Step] = {}
    expected = plain_loop(work)()
    for who in arguments.who:
        tell(f"{work.name}: {who}, first step")
        try:
            step = CANDIDATES[who](work)
        except ImportError as error:
            print(f"{who} left out: {error}")
            continue
        with memory_of(who):
            require_same(who, step(), expected, work.rounding)
            step()
        steps[who] = step
    seconds: dict[str, list[float]] = {who: [] for who in steps}
    for round_ in range(arguments.rounds):
        for who in sorted(steps, reverse=bool(round_ % 2)):
            tell(f"{work.name}: round {round_ + 1} of {arguments.rounds}, {who}")
            with memory_of(who):
                seconds[who].append(turn(steps[who], arguments.turn))
        if arguments.meta_steps and round_ < 3:  # each runs in its own process
            tell(f"{work.name}: round {round_ + 1}, metaloop-train")
            length = arguments.meta_steps if work.image is None else arguments.meta_steps // 12
            compiles = COMPILED in steps
            whole = whole_loop(work, arguments.data_dir, length, arguments.threads, compiles)
            if whole is not None:
                name = f"metaloop-train{', compiled' if compiles else ''}"
                seconds.setdefault(name, []).append(whole)
    return seconds


def turn(step: Step, seconds: float) -> float:
    """Measure the median time of a step over so many seconds, after a warm-up."""
    step()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    times, end = [], time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        step()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def require_same(who: str, found: object, expected: object, rounding: float) -> None:
    """Refuse to time a gradient that differs from the plain loop's."""
    pairs = [(numpy(f), numpy(g)) for f, g in zip(found, expected, strict=True)]
    norm = np.sqrt(sum(float(np.square(g).sum()) for _, g in pairs))
    error = np.sqrt(sum(float(np.square(f - g).sum()) for f, g in pairs)) / norm
    if error > rounding:
        raise SystemExit(f"{who} computes something else: its gradient is off by {error:.1e}.")


def numpy(tensor: object) -> np.ndarray:
    """Convert a tensor of torch or JAX."""
    return np.asarray(tensor.cpu() if isinstance(tensor, torch.Tensor) else tensor)


def tables(record: Mapping[str, Measured]) -> str:
    """Make the table of every work, each with how it was made."""
    return "\n\n".join(f"{table(one)}\n\n{how_made(one['made'])}" for one in record.values())


def table(measured: Measured) -> str:
    """Make a Markdown table: time, ratio to learn2learn (or the plain loop), share of the peak."""
    seconds, flop, peak = measured["seconds"], measured["flop"], measured["peak"]
    base = base_of(seconds)
    lines = [
        f"**{measured['work']}**: {flop / 1e9:.2f} GFLOP per meta-step, "
        f"matrix-multiply peak {peak / 1e9:.0f} GFLOP/s\n",
        f"| | ms per meta-step | speed, {base} = 1 (smallest to largest) | share of the peak |",
        "|---|---|---|---|",
    ]
    for who, values in sorted(seconds.items(), key=lambda item: -statistics.median(item[1])):
        speeds, median = ratios(seconds, who, base), statistics.median(values)
        lines.append(
            f"| {who} | {1e3 * median:.2f} | {statistics.median(speeds):.2f} "
            f"({min(speeds):.2f} to {max(speeds):.2f}) | {flop / median / peak:.0%} |"
        )
    return "\n".join(lines)


def count_flop(work: Work) -> int:
    """Count the operations of a meta-step of the plain loop."""
    with FlopCounterMode(display=False) as counter:
        plain_loop(work)()
    return counter.get_total_flops()


def matmul_peak(device: str) -> float:
    """Measure the operations per second of a product of large float32 matrices."""
    size = 1024 if device == "cpu" else 8192
    one, other = torch.randn(2, size, size, device=device).unbind()
    return 2 * size**3 / min(turn(lambda: [one @ other], 0.3) for _ in range(3))


if __name__ == "__main__":
    main()
