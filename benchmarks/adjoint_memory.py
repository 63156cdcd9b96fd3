"""Measure memory and time of the exact adjoints: MAML on Conv4-64 at 1 and at 20 inner steps.

    python benchmarks/adjoint_memory.py --repeats 5 --out adjoint_memory.json

Every measurement runs in a fresh process, since a process's peak never falls, and takes the same
meta-gradient twice. The first sets up torch's kernels and allocates memory, which costs most for
the adjoint that needs most; the second is what a training run sees at every step.

5-way 5-shot, 15 queries per class, 28 x 28 grey images (synthetic, with a fixed seed), a meta-batch
of 4 tasks. Peak memory is the process's largest resident set; `above baseline` excludes torch, the
model and the images. Each round measures all configurations, so that slow minutes of the machine
affect all of them.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

# The parent never imports torch: a process starts with its parent's resident set as its peak.

ADJOINTS = ("unrolled", "recomputed")
WAYS, SHOTS, QUERIES, TASKS = 5, 5, 15, 4
IMAGE = (1, 28, 28)
INNER_LR = 0.01
# units of a resident set: kibibytes on Linux, bytes on macOS
UNITS_PER_MEBIBYTE = 1024 * 1024 if sys.platform == "darwin" else 1024

Measurement = dict[str, float]


def main() -> None:
    """Measure every configuration in turn, and print the results."""
    arguments = parse()
    if arguments.measure:
        adjoint, steps = arguments.measure
        print(json.dumps(measure(adjoint, int(steps), arguments)))
        return
    few, many = sorted(arguments.steps)
    cells = [(adjoint, steps) for adjoint in ADJOINTS for steps in (few, many)]
    measured: dict[tuple[str, int], list[Measurement]] = {cell: [] for cell in cells}
    console = Console(width=max(110, Console().width))  # do not squeeze a table in a log
    for repeat in range(arguments.repeats):
        # every other round backwards, so that a drift of the machine favours no configuration
        for adjoint, steps in cells if repeat % 2 == 0 else reversed(cells):
            with console.status(f"round {repeat + 1}/{arguments.repeats}: {adjoint} {steps}"):
                one = measure_in_fresh_process(adjoint, steps, arguments)
            measured[adjoint, steps].append(one)
            console.print(
                f"round {repeat + 1}/{arguments.repeats}  {adjoint:10} {steps:2} steps"
                f"  {one['seconds']:7.2f} s  {one['peak_mib']:7.0f} MiB"
            )
    ratios = compare(measured, few, many)
    console.print(table(measured), *describe(ratios, few, many), sep="\n")
    if arguments.out:
        arguments.out.write_text(json.dumps(results(measured, ratios, arguments), indent=2))
        console.print(f"written: {arguments.out}")


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, nargs=2, default=[1, 20], metavar=("FEW", "MANY"))
    parser.add_argument("--repeats", type=int, default=3, help="fresh processes per configuration")
    parser.add_argument(
        "--tasks-at-once", type=int, default=1, help="1 (task by task) limits the memory on a CPU"
    )
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--out", type=Path, help="a JSON file for every measurement")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_in_fresh_process(
    adjoint: str, steps: int, arguments: argparse.Namespace
) -> Measurement:
    """Run this file again for one measurement."""
    command = [sys.executable, __file__, "--measure", adjoint, str(steps)]
    command += ["--tasks-at-once", str(arguments.tasks_at_once)]
    command += ["--threads", str(arguments.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measurement: Measurement = json.loads(done.stdout)
    return measurement


def measure(adjoint: str, steps: int, arguments: argparse.Namespace) -> Measurement:
    """Compute two meta-gradients; return the seconds of each, and the peak memory in MiB."""
    import torch
    from torch.nn import functional as F

    from metaloop.algorithms import maml
    from metaloop.episode import Episode, Examples
    from metaloop.inner_loop import Objective
    from metaloop.meta_gradient import meta_gradient
    from metaloop.models import Conv4

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    def examples(each: int) -> Examples:
        targets = torch.arange(WAYS).repeat_interleave(each).expand(TASKS, -1)
        return Examples(torch.rand(*targets.shape, *IMAGE), targets)

    episodes = Episode(examples(SHOTS), examples(QUERIES), torch.arange(WAYS).expand(TASKS, -1))
    model = Conv4(IMAGE, WAYS, filters=64, downsample="max_pool")
    algorithm = maml(
        Objective(model=model, loss=F.cross_entropy),
        inner_lr=INNER_LR,
        inner_steps=steps,
        eval_inner_steps=steps,
        adjoint=adjoint,
    )
    theta = algorithm.objective.meta_parameters()

    def seconds() -> float:
        start = time.perf_counter()
        meta_gradient(algorithm, theta, episodes, tasks_at_once=arguments.tasks_at_once)
        return time.perf_counter() - start

    baseline = peak()
    first, second = seconds(), seconds()
    return {
        "first_seconds": first,
        "seconds": second,
        "peak_mib": peak(),
        "above_baseline_mib": peak() - baseline,
    }


def peak() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / UNITS_PER_MEBIBYTE


def compare(
    measured: dict[tuple[str, int], list[Measurement]], few: int, many: int
) -> dict[str, list[float]]:
    """Compute the ratios for judging the recomputed adjoint, one per round."""

    def ratio(quantity: str, above: tuple[str, int], below: tuple[str, int]) -> list[float]:
        pairs = zip(measured[above], measured[below], strict=True)
        return [one[quantity] / other[quantity] for one, other in pairs]

    long, short, unrolled = ("recomputed", many), ("recomputed", few), ("unrolled", many)
    return {
        "peak, recomputed, many steps / few": ratio("peak_mib", long, short),
        "above baseline, recomputed, many steps / few": ratio("above_baseline_mib", long, short),
        "above baseline, many steps, recomputed / unrolled": ratio(
            "above_baseline_mib", long, unrolled
        ),
        "time, many steps, recomputed / unrolled": ratio("seconds", long, unrolled),
        "time of the first, many steps, recomputed / unrolled": ratio(
            "first_seconds", long, unrolled
        ),
    }


def table(measured: dict[tuple[str, int], list[Measurement]]) -> Table:
    """Make a table with one row per configuration."""
    shown = Table(title=f"one meta-gradient of {TASKS} tasks: median [smallest .. largest]")
    for column in ("adjoint", "steps", "seconds", "first", "peak MiB", "above baseline"):
        shown.add_column(column, justify="left" if column == "adjoint" else "right")
    for (adjoint, steps), ones in measured.items():
        shown.add_row(
            adjoint,
            str(steps),
            spread([one["seconds"] for one in ones], 1),
            spread([one["first_seconds"] for one in ones], 1),
            spread([one["peak_mib"] for one in ones], 0),
            spread([one["above_baseline_mib"] for one in ones], 0),
        )
    return shown


def describe(ratios: dict[str, list[float]], few: int, many: int) -> list[str]:
    """Describe the ratios as text."""
    return [
        f"{name.replace('many', str(many)).replace('few', str(few))}: {spread(values, 2)}"
        for name, values in ratios.items()
    ]


def spread(values: list[float], digits: int) -> str:
    """Format median [smallest .. largest]."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} \\[{low:.{digits}f} .. {high:.{digits}f}]"


def results(
    measured: dict[tuple[str, int], list[Measurement]],
    ratios: dict[str, list[float]],
    arguments: argparse.Namespace,
) -> dict[str, object]:
    """Collect all measurements with their protocol."""
    from importlib.metadata import version

    return {
        "protocol": {
            "model": "conv4, 64 filters, max_pool",
            "algorithm": f"maml, inner_lr={INNER_LR}",
            "episode": f"{WAYS}-way {SHOTS}-shot, {QUERIES} queries per class, {IMAGE}, synthetic",
            "tasks": TASKS,
            "tasks_at_once": arguments.tasks_at_once,
            "threads": arguments.threads,
            "torch": version("torch"),
        },
        "measurements": [
            {"adjoint": adjoint, "inner_steps": steps, **one}
            for (adjoint, steps), ones in measured.items()
            for one in ones
        ],
        "ratios": {
            name: {"median": statistics.median(values), "each": values}
            for name, values in ratios.items()
        },
    }


if __name__ == "__main__":
    main()
